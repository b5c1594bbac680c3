// Click a heading to sort, a picture to enlarge it; in the enlargement hold the mouse button to hide the outlines.
for (const head of document.querySelectorAll("th[data-sort]")) {
  head.addEventListener("click", () => {
    const table = head.closest("table"), body = table.tBodies[0], column = head.cellIndex;
    const down = head.dataset.sort !== "down";
    head.dataset.sort = down ? "down" : "up";
    const value = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent;
    const compare = (a, b) => (isNaN(a) || isNaN(b) ? a.localeCompare(b) : a - b);
    [...body.rows].sort((a, b) => compare(value(a), value(b)) * (down ? -1 : 1)).forEach((row) => body.append(row));
  });
}
const dialog = document.querySelector("dialog"), large = dialog.querySelector("img");
for (const picture of document.querySelectorAll(".picture")) {
  picture.addEventListener("click", () => {
    const drawn = picture.querySelector(".drawn").src, plain = picture.querySelector(".plain").src;
    large.src = drawn;
    large.onmousedown = (event) => { event.preventDefault(); large.src = plain; };
    large.onmouseup = large.onmouseleave = () => { large.src = drawn; };
    dialog.showModal();
  });
}
dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
