# The program without its tests, for CPUs or for NVIDIA GPUs:
#   docker build -t gains .
#   docker build -t gains-cuda --build-arg TORCH=cu130 .
#   docker run --rm --user "$(id -u):$(id -g)" -v "$PWD:/work" gains predict checkpoint=best.ckpt input=images output=results
ARG PYTHON=3.13
FROM python:${PYTHON}-slim

# Which wheels of PyTorch: cpu, or cu126, cu130, ... as https://pytorch.org lists them.
ARG TORCH=cpu

WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY conf conf
COPY gains gains
# A wheel of 2.15.0+cpu counts as newer than PyPI's 2.15.0, so that of the extra index is taken.
RUN pip install --no-cache-dir --extra-index-url "https://download.pytorch.org/whl/${TORCH}" . \
    && rm -rf /source

# Anybody's id may run it (--user), so what libraries cache goes where everybody may write.
ENV HOME=/tmp
USER 65534
WORKDIR /work
ENTRYPOINT ["gains"]
CMD ["--help"]
