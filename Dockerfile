# frpo-verl where there are GPUs: verl 0.9.1 on the image in which verl's own GPU tests of 0.9.0 ran.
#
# Build:   docker build -t frpo-verl .
# Run:     docker run --rm --gpus all --shm-size 32g frpo-verl frpo-verl doctor -- algorithm.adv_estimator=frpo …
# Recipes: /opt/frpo-verl/recipes
#
# torch, vLLM and what is compiled against them stay as they are in the image: a build that would have to change one ends.
# The tag is that of verl's docker/Dockerfile.stable.vllm: CUDA 13.0, Python 3.12, torch 2.11, vLLM 0.24, Megatron-Core 0.18.
ARG BASE=verlai/verl:vllm024.dev2

FROM ${BASE} AS wheel
WORKDIR /src
COPY LICENSE README.md pyproject.toml ./
COPY frpo_verl frpo_verl
RUN python3 -m pip wheel --no-cache-dir --no-deps --wheel-dir /dist .

FROM ${BASE}
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
ARG HELD="torch|torchvision|torchaudio|torchcodec|triton|vllm|numba|flash[-_]attn|transformer[-_]engine|apex|megatron[-_]core"
RUN python3 -m pip list --format freeze | { grep -iE "^(${HELD})==" || true; } > /opt/held.txt \
    && grep -q '^torch==' /opt/held.txt

# The image is older than verl 0.9.1: transformers is what verl's extra `vllm` pins, TransferQueue what its extra `verl-core` asks for.
COPY --from=wheel /dist /opt/dist
RUN python3 -m pip install --no-cache-dir --constraint /opt/held.txt \
        "verl==0.9.1" "transformers==5.9.0" "TransferQueue>=0.1.10" "$(ls /opt/dist/frpo_verl-*.whl)[fast,data,math]" \
    && python3 -m pip list --format freeze | { grep -iE "^(${HELD})==" || true; } | diff /opt/held.txt -

COPY recipes /opt/frpo-verl/recipes
RUN frpo-verl doctor --no-ray
