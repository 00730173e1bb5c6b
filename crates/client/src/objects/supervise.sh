# Runs the worker, and reports an end that it did not report itself: no preStop hook is called for
# a container that ends by itself. TERM is passed on; the hook reports then.
stop=
trap 'stop=1; kill -TERM "$worker" 2>/dev/null' TERM
"$@" &
worker=$!
[ -z "$stop" ] || kill -TERM "$worker" 2>/dev/null
wait "$worker"
code=$?
if [ -n "$stop" ]; then
  # The signal may have ended the wait instead of the worker. 127 says that the shell knows no more.
  while kill -0 "$worker" 2>/dev/null; do wait "$worker"; code=$?; done
  wait "$worker" 2>/dev/null
  again=$?
  [ "$again" = 127 ] || code=$again
  exit "$code"
fi
if [ "$code" = 1 ]; then
  # A config that the worker's own models refuse will be refused again: 2 keeps Kubernetes from retrying.
  python -c '
import os, sys
try:
    import yaml
    from metadata.ingestion.api.parser import parse_workflow_config_gracefully as parse
    file = os.environ.get("configFile")
    config = yaml.safe_load(open(file) if file else os.environ["config"])
except Exception:
    sys.exit(0)
try:
    parse(config)
except Exception:
    sys.exit(78)
' >/dev/null 2>&1
  [ "$?" = 78 ] && code=2
fi
if [ "$code" != 0 ]; then
  OMPIPE_MAIN_EXIT_CODE=$code pipelineStatus=Failed python exit_handler.py
elif grep -q OMPIPE_MAIN_EXIT_CODE exit_handler.py 2>/dev/null; then
  # An exit handler that does not know exit codes may write over what the worker reported.
  OMPIPE_MAIN_EXIT_CODE=0 pipelineStatus=Succeeded python exit_handler.py
fi
exit "$code"
