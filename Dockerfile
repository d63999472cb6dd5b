# The images of Iris: `--target operator`, `controlplane`, `dataplane` or `cli`.
#
# From source, on public bases:
#     docker build --target operator -t iris-operator .
# From programs that were built outside, in `bin/` of the context, on a base of one's own:
#     buildah bud --target operator --build-arg BINARIES=prebuilt --build-arg BASE=... CONTEXT
# The second is what `cargo xtask up` does: it needs no registry, and cargo builds only what changed.

# What the programs run on: a C library of Debian 12 or later.
ARG BASE=debian:12-slim
# What they are built with, when they are built here.
ARG RUST=rust:1.95-slim-bookworm
# Where they come from: `source` or `prebuilt`.
ARG BINARIES=source

FROM ${RUST} AS source
ARG PROFILE=dist
RUN apt-get update \
 && apt-get install -y --no-install-recommends cmake g++ libprotobuf-dev make protobuf-compiler \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN cargo build --locked --profile ${PROFILE} \
      -p iris-operator -p iris-controlplane -p iris-dataplane -p iris-cli \
 && mkdir /out \
 && find target/${PROFILE} -maxdepth 1 -type f -perm -u+x -exec cp {} /out/ \;

FROM scratch AS prebuilt
COPY bin/ /out/

FROM ${BINARIES} AS binaries

# One user for all, without a name, a home or a shell.
FROM ${BASE} AS operator
COPY --from=binaries /out/iris-operator /usr/bin/
USER 65532:65532
ENTRYPOINT ["/usr/bin/iris-operator"]

FROM ${BASE} AS controlplane
COPY --from=binaries /out/iris-controlplane /usr/bin/
USER 65532:65532
ENTRYPOINT ["/usr/bin/iris-controlplane"]

FROM ${BASE} AS dataplane
COPY --from=binaries /out/iris-dataplane /usr/bin/
# A password's hash takes 19 MiB for a moment, in whichever thread: given back to the system at once,
# where the C library would keep them for each thread.
ENV MALLOC_ARENA_MAX=2 MALLOC_MMAP_THRESHOLD_=1048576 MALLOC_TRIM_THRESHOLD_=8388608
USER 65532:65532
ENTRYPOINT ["/usr/bin/iris-dataplane"]

# `iris`, and `kubectl-iris` beside it.
FROM ${BASE} AS cli
COPY --from=binaries /out/*iris /usr/bin/
USER 65532:65532
ENTRYPOINT ["/usr/bin/iris"]
