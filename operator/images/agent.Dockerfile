# Carries the agent into a trainer's pod: `cp`, as one static program, and the agent's zipapp.
# Build it from the repository's root (`make images`), after `make agent`.
ARG BASE_IMAGE=debian:bookworm-slim

FROM $BASE_IMAGE AS build
RUN apt-get update -q && apt-get install -y -q --no-install-recommends busybox-static \
 && mkdir -p /out/bin && cp /bin/busybox /out/bin/busybox && ln -s busybox /out/bin/cp

FROM scratch
COPY --from=build /out /
COPY dist/ftjob-agent.pyz /ftjob-agent.pyz
USER 65532:65532
