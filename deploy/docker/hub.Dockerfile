# docker build -f deploy/docker/hub.Dockerfile -t nave.dev/nave-hub:v0.1.0 .
FROM rust:1.95-slim-bookworm AS build
# aws-lc (TLS) is C; everything else is Rust.
RUN apt-get update \
 && apt-get install --yes --no-install-recommends gcc libc6-dev cmake make \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --package nave-hub --bin nave-hub \
 && cp target/release/nave-hub /nave-hub

# glibc, CA certificates and nothing to log in with.
FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /nave-hub /usr/local/bin/nave-hub
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/nave-hub"]
