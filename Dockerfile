# Builds sluice and puts it alone on a small base. Run it with a read-only root:
#
#   docker build -t sluice .
#   docker run --read-only --cap-drop ALL -v ./connectors.yaml:/etc/sluice/connectors.yaml:ro -p 9464:9464 sluice
#
# For the endpoints to be reachable from outside, connectors.yaml must say `daemon: { listen: 0.0.0.0:9464 }`.

FROM rust:1-bookworm AS build
# perl and make for OpenSSL, cmake and a C++ compiler for librdkafka: all are linked statically.
RUN apt-get update \
 && apt-get install --yes --no-install-recommends cmake g++ make perl \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /build

# The dependencies take most of the time. This layer lasts until the manifest or the lock file changes.
COPY Cargo.toml Cargo.lock ./
RUN mkdir src \
 && echo 'fn main() {}' > src/main.rs \
 && touch src/lib.rs \
 && cargo build --release --locked \
 && rm -r src

COPY src src
# Copied files keep their age: without the touch cargo would take the empty program above for the newer one.
RUN touch src/main.rs src/lib.rs \
 && cargo build --release --locked

FROM debian:12-slim
LABEL org.opencontainers.image.title="sluice" \
      org.opencontainers.image.description="Moves Kafka topics into a data lake as Parquet, exactly once" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN apt-get update \
 && apt-get install --yes --no-install-recommends ca-certificates \
 && rm -rf /var/lib/apt/lists/* \
 && install -d --mode 0750 --owner 65532 --group 65532 /var/lib/sluice
COPY --from=build /build/target/release/sluice /usr/local/bin/sluice
COPY LICENSE /usr/share/doc/sluice/

# By number, so that Kubernetes can see that it is not root.
USER 65532:65532
# The only place that is written to: encoded bytes on their way to an object store, or the lake itself.
ENV TMPDIR=/var/lib/sluice
VOLUME /var/lib/sluice
WORKDIR /var/lib/sluice
EXPOSE 9464
# Drains, publishes, commits; allow it longer than daemon.shutdown_timeout: `docker stop -t 90`.
STOPSIGNAL SIGTERM
# No HEALTHCHECK: /healthz and /readyz are there for whoever runs the container, and the image holds no HTTP client.
ENTRYPOINT ["/usr/local/bin/sluice"]
CMD ["run", "--config", "/etc/sluice/connectors.yaml"]
