#!/bin/sh
# Creates the namespace with 30 days of retention and registers our search attributes; safe to run again.
# Needs: TEMPORAL_ADDRESS, TEMPORAL_NAMESPACE.
set -eu

retention=720h

tries=60
until temporal operator cluster health >/dev/null 2>&1; do
    tries=$((tries - 1))
    if [ "$tries" -le 0 ]; then
        echo "Temporal at $TEMPORAL_ADDRESS does not answer" >&2
        exit 1
    fi
    sleep 1
done

if temporal operator namespace describe --namespace "$TEMPORAL_NAMESPACE" >/dev/null 2>&1; then
    temporal operator namespace update --namespace "$TEMPORAL_NAMESPACE" --retention "$retention"
else
    temporal operator namespace create --namespace "$TEMPORAL_NAMESPACE" --retention "$retention"
fi

register() {
    temporal operator search-attribute create --namespace "$TEMPORAL_NAMESPACE" \
        --name WorkflowDefinitionId --type Keyword \
        --name WorkflowDefinitionVersion --type Int \
        --name WorkflowTags --type KeywordList \
        --name OrchestratorStatus --type Keyword \
        --name OrchestratorDetail --type Keyword \
        --name OrchestratorErrorType --type Keyword \
        --name OrchestratorRerunOf --type Keyword 2>&1
}

# A new namespace reaches the server's caches after some seconds.
tries=30
until answer=$(register); do
    tries=$((tries - 1))
    if [ "$tries" -le 0 ]; then
        echo "the search attributes could not be registered: $answer" >&2
        exit 1
    fi
    sleep 1
done
echo "$answer"
