# The operator: Python and ftjob with its `operator` extra. Build it from the repository's root
# (`make images`); BASE_IMAGE is any Debian-like image with Python 3.11 and venv.
ARG BASE_IMAGE=python:3.11-slim-bookworm

# A stage of its own: other changes of pyproject.toml do not install anything again.
FROM $BASE_IMAGE AS requirements
COPY pyproject.toml workloads/images/requirements.py ./
# The client for people's kubeconfigs takes 100 MB, and the operator has one of its own.
RUN python3 requirements.py --dependencies operator | grep -v '^kubernetes' >/requirements.txt

FROM $BASE_IMAGE AS build
WORKDIR /src
# client-settings is optional: certificates and package index settings of the machine that builds.
COPY requirements.lock client-setting[s] ./
COPY --from=requirements /requirements.txt ./
RUN if [ -f settings.sh ]; then . ./settings.sh; fi \
 && python3 -m venv /uv && /uv/bin/pip install -q 'uv>=0.13,<0.14' \
 && /uv/bin/uv venv -q --python "$(command -v python3)" /opt/ftjob \
 && /uv/bin/uv pip install -q --python /opt/ftjob/bin/python --compile-bytecode -c requirements.lock -r requirements.txt
COPY pyproject.toml README.md LICENSE ./
COPY operator operator
COPY workloads workloads
RUN if [ -f settings.sh ]; then . ./settings.sh; fi \
 && /uv/bin/uv pip install -q --python /opt/ftjob/bin/python --compile-bytecode --no-deps . \
 && mkdir /own && cd /opt/ftjob/lib/python3*/site-packages && tar -c ftjob ftjob_agent ftjob_diagnosis ftjob_protocol ftjob-*.dist-info | tar -x -C /own \
 && rm -rf ftjob ftjob_agent ftjob_diagnosis ftjob_protocol ftjob_workloads ftjob-*.dist-info

FROM $BASE_IMAGE
# Two layers: what changes with the lock, and what changes with our code.
COPY --from=build /opt/ftjob /opt/ftjob
COPY --from=build /own /opt/ftjob/own
ENV PATH=/opt/ftjob/bin:$PATH PYTHONPATH=/opt/ftjob/own PYTHONUNBUFFERED=1
USER 65532:65532
ENTRYPOINT ["python", "-m", "ftjob.control"]
