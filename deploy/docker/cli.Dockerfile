# docker build -f deploy/docker/cli.Dockerfile -t nave.dev/nave:v0.1.0 .
FROM rust:1.95-slim-bookworm AS build
# aws-lc (TLS) is C; everything else is Rust.
RUN apt-get update \
 && apt-get install --yes --no-install-recommends gcc libc6-dev cmake make \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --package nave --bin nave \
 && cp target/release/nave /nave

# glibc, CA certificates and nothing to log in with.
FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /nave /usr/local/bin/nave
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/nave"]
