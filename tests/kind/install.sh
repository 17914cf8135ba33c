#!/bin/bash
# Installs or upgrades the chart in the cluster, with the images of this checkout, and waits for the operator.
#   install.sh [HELM-OPTION...]    such as --set networkPolicy=Job
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../setup/common.sh"

cd "$REPO"
tests/setup/tools.sh kubectl helm >/dev/null
KUBECTL=$CACHE/bin/kubectl HELM=$CACHE/bin/helm NAMESPACE=ftjob-system

explain() {
  "$KUBECTL" --context "kind-$CLUSTER" -n "$NAMESPACE" get pods || true
  "$KUBECTL" --context "kind-$CLUSTER" -n "$NAMESPACE" logs -l app.kubernetes.io/instance=ftjob --tail=20 || true
  return 1
}

install() {
  # What an install that was killed half-way leaves behind would refuse this one.
  "$KUBECTL" --context "kind-$CLUSTER" -n "$NAMESPACE" delete secret --ignore-not-found \
    -l 'owner=helm,name=ftjob,status in (pending-install, pending-upgrade, pending-rollback)'
  # The tag never changes, so the image's id does: a new image makes new pods.
  "$HELM" upgrade --install ftjob charts/ftjob --kube-context "kind-$CLUSTER" --namespace "$NAMESPACE" --create-namespace \
    --set image.repository=ftjob-operator --set image.tag=dev \
    --set outputs.defaultStorageClassName=ftjob-shared \
    --set-string "podAnnotations.ftjob\.dev/image=$(docker image inspect -f '{{.Id}}' ftjob-operator:dev)" \
    --wait --timeout 90s "$@" || explain
}

if [ ! -f charts/ftjob/Chart.yaml ]; then say "charts/ftjob is not there: nothing is installed"; exit; fi
timed "install the chart" install "$@"
