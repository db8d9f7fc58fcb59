# umss-jax in a container, on the CPU:
#   docker build -t umss-jax .
#   docker run --rm -v "$PWD:/data" umss-jax separate choir.m4a
# and on NVIDIA GPUs, whose driver the host brings:
#   docker build --build-arg DEVICE=cuda -t umss-jax:cuda .
#   docker run --rm --gpus all -v "$PWD:/data" umss-jax:cuda separate choir.m4a
ARG PYTHON=3.12
# Not the slim image here: the version is asked of git, which that has not.
FROM python:${PYTHON} AS wheel
WORKDIR /source
COPY . .
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:${PYTHON}-slim
ARG DEVICE=cpu
ARG EXTRAS=midi,plot,practice,scores
COPY --from=wheel /wheels /wheels
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# CUDA's libraries come with JAX's own packages, so both devices have the same base. Versions are
# those that the wheel asks for.
# hadolint ignore=DL3013
RUN case "${DEVICE}" in cpu) jax=jax ;; cuda) jax="jax[cuda13]" ;; *) echo "DEVICE is cpu or cuda" >&2; exit 1 ;; esac \
    && wheel=$(echo /wheels/umss_jax-*.whl) \
    && pip install --no-cache-dir "${wheel}[${EXTRAS}]" "${jax}" \
    && useradd --create-home --uid 1000 singer \
    && install --directory --owner=singer /cache /data
USER 1000
ENV UMSS_JAX_HOME=/cache
VOLUME /cache
WORKDIR /data
ENTRYPOINT ["umss-jax"]
CMD ["--help"]
