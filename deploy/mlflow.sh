#!/usr/bin/env bash
# MLflow with logins on PostgreSQL, in the foreground; it serves the artifacts itself. In the environment of this
# repository: pip install -c constraints.txt -e ".[server]".
#   MLFLOW_AUTH_ADMIN_PASSWORD, MLFLOW_FLASK_SERVER_SECRET_KEY    required
#   PGPASSWORD     of the role mlflow, or ~/.pgpass has it
#   DATABASE       its host and port; default 127.0.0.1:5432
#   STATE          folder; default ./state
#   LISTEN, PORT   address; default 127.0.0.1 and 5000
#   HOSTS          the names by which others reach it, with ports; default LISTEN:PORT
set -euo pipefail
: "${MLFLOW_AUTH_ADMIN_PASSWORD:?must be the password of the user admin}"
: "${MLFLOW_FLASK_SERVER_SECRET_KEY:?must be any long text, always the same}"
export MLFLOW_AUTH_ADMIN_PASSWORD MLFLOW_FLASK_SERVER_SECRET_KEY
state=$(realpath -m "${STATE:-state}") listen=${LISTEN:-127.0.0.1} port=${PORT:-5000}
mkdir -p "$state" # the user postgres must come to his part of it
umask 077
mkdir -p "$state/mlflow/artifacts"
# Everybody who has a login may edit: the runs of a team's experiment are of all its members.
cat >"$state/mlflow/auth.ini" <<INI
[mlflow]
default_permission = EDIT
database_uri = sqlite:///$state/mlflow/users.db
admin_username = admin
# Else every request takes the time of a password's hash. A password that was changed counts for so many seconds more.
auth_cache_ttl_seconds = 60
INI
export MLFLOW_AUTH_CONFIG_PATH=$state/mlflow/auth.ini MLFLOW_DISABLE_TELEMETRY=true
export MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false # seven processes of 240 MB
cd "$state/mlflow"
# No password in the address: libpq takes it from PGPASSWORD or ~/.pgpass.
exec mlflow server --app-name basic-auth --host "$listen" --port "$port" --workers "${WORKERS:-2}" \
    --allowed-hosts "${HOSTS:-$listen:$port}" --serve-artifacts --artifacts-destination "$state/mlflow/artifacts" \
    --backend-store-uri "postgresql+psycopg2://mlflow@${DATABASE:-127.0.0.1:5432}/mlflow"
