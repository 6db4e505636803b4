# The service on Debian 12, built by the same steps as `make run`. See README.md, "Containers".

FROM rust:1.95-bookworm AS build
WORKDIR /src
# What changes seldom comes first, so that its layers are kept.
COPY Cargo.toml ./
COPY scripts ./scripts
RUN scripts/setup.sh packages rust runtime && rm -rf /var/lib/apt/lists/*
COPY . .
RUN cargo build --release --locked --bin cameo \
    && target/release/cameo models install \
    && cp target/release/cameo /usr/local/bin/cameo \
    && rm -rf target

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends \
        ca-certificates libgomp1 \
        libopencv-core406 libopencv-imgproc406 libopencv-calib3d406 \
        libavcodec59 libavformat59 libavutil57 libswresample4 libswscale6 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --home-dir /var/lib/cameo --create-home cameo \
    && install -d -o cameo -g cameo -m 700 /var/lib/cameo/var
COPY --from=build /usr/local/bin/cameo /usr/local/bin/cameo
COPY --from=build /src/onnx/installed /usr/share/cameo/models
COPY --from=build /src/onnx/runtime /usr/share/cameo/runtime
COPY LICENSE /usr/share/cameo/LICENSE
ENV CAMEO_MODELS__DIR=/usr/share/cameo/models \
    CAMEO_MODELS__RUNTIME=/usr/share/cameo/runtime/libonnxruntime.so \
    CAMEO_SERVER__LISTEN=0.0.0.0:8600 \
    CAMEO_TELEMETRY__FORMAT=json
WORKDIR /var/lib/cameo
USER cameo
VOLUME /var/lib/cameo/var
EXPOSE 8600
STOPSIGNAL SIGTERM
# No client is installed for this alone: bash can speak enough HTTP.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["bash", "-c", \
    "exec 3<>/dev/tcp/127.0.0.1/8600 && printf 'GET /readyz HTTP/1.0\\r\\n\\r\\n' >&3 && head -n 1 <&3 | grep -q ' 200 '"]
ENTRYPOINT ["cameo"]
CMD ["serve"]
