# A plain Python for tests whose packages (torch is 7 GB) are mounted into the nodes instead of packed into
# an image: claims of storage class ftjob-test-env, mounted at /test-env.
ARG BASE_IMAGE=python:3.11-slim-bookworm
FROM $BASE_IMAGE
RUN echo 'trainer:x:65532:65532::/tmp:/usr/sbin/nologin' >>/etc/passwd \
 && printf '/test-env/workloads\n/test-env/site-packages\n' \
      >"$(python3 -c 'import site; print(site.getsitepackages()[0])')/test-env.pth"
ENV HOME=/tmp PATH=/test-env/bin:$PATH
USER 65532:65532
