//! Examples at the end of each help.

pub(super) const OMPIPE: &str = "\
Examples:
  ompipe deploy -f pipeline.yaml
  ompipe run shop.shop_metadata --follow
  ompipe list
  ompipe doctor shop.shop_metadata";

pub(super) const DEPLOY: &str = "\
Examples:
  ompipe deploy -f pipeline.yaml                 a file
  ompipe deploy -f pipelines/                    every file of a directory
  ompipe deploy --fqn shop.shop_metadata         what OpenMetadata has
  ompipe deploy -f pipelines/ --dry-run=server   what would change";

pub(super) const DIFF: &str = "\
Examples:
  ompipe diff -f pipeline.yaml
  ompipe diff --fqn shop.shop_metadata";

pub(super) const RUN: &str = "\
Examples:
  ompipe run shop.shop_metadata --follow
  ompipe run shop_metadata --overrides overrides.yaml
  ompipe run shop.shop_metadata -o name";

pub(super) const RETRY: &str = "\
Examples:
  ompipe retry a1b2c3d4
  ompipe retry a1b2c3d4 --follow";

pub(super) const WAIT: &str = "\
Examples:
  ompipe wait shop.shop_metadata
  ompipe wait shop.shop_metadata --run a1b2c3d4 --timeout 30m";

pub(super) const STATUS: &str = "\
Examples:
  ompipe status shop.shop_metadata
  ompipe status shop.shop_metadata --run a1b2c3d4 -o wide
  ompipe status shop.shop_metadata --watch";

pub(super) const LOGS: &str = "\
Examples:
  ompipe logs shop.shop_metadata
  ompipe logs shop.shop_metadata -f
  ompipe logs shop.shop_metadata --run a1b2c3d4 --attempt 2";

pub(super) const LIST: &str = "\
Examples:
  ompipe list
  ompipe list -A -o wide
  ompipe list --watch
  ompipe list -l app.kubernetes.io/pipeline-type=profiler";

pub(super) const GET: &str = "\
Examples:
  ompipe get shop.shop_metadata
  ompipe get shop.shop_metadata -o yaml";

pub(super) const PAUSE: &str = "\
Examples:
  ompipe pause shop.shop_metadata
  ompipe pause --all";

pub(super) const RESUME: &str = "\
Examples:
  ompipe resume shop.shop_metadata
  ompipe resume --all";

pub(super) const TOGGLE: &str = "\
Examples:
  ompipe toggle shop.shop_metadata --disable";

pub(super) const KILL: &str = "\
Examples:
  ompipe kill shop.shop_metadata
  ompipe kill shop.shop_metadata --run a1b2c3d4
  ompipe kill --all";

pub(super) const DELETE: &str = "\
Examples:
  ompipe delete shop.shop_metadata shop.shop_profiler
  ompipe delete -f pipelines/
  ompipe delete -l app.kubernetes.io/pipeline-type=profiler";

pub(super) const ORPHANS: &str = "\
Examples:
  ompipe orphans
  ompipe orphans --delete";

pub(super) const TEST_CONNECTION: &str = "\
Examples:
  ompipe test-connection -f workflow.json";

pub(super) const DOCTOR: &str = "\
Examples:
  ompipe doctor
  ompipe doctor shop.shop_metadata --run a1b2c3d4
  ompipe doctor shop.shop_metadata --fix";

pub(super) const RENDER: &str = "\
Examples:
  ompipe render -f pipeline.yaml
  ompipe render -f pipeline.yaml --show-secrets | kubectl apply -f -";

pub(super) const CONFIG: &str = "\
Examples:
  ompipe config check
  ompipe config show
  ompipe config reference";

pub(super) const CRDS: &str = "\
Examples:
  ompipe crds | kubectl apply --server-side -f -";

pub(super) const RBAC: &str = "\
Examples:
  ompipe rbac | kubectl apply -f -
  ompipe rbac -n team-a | kubectl apply -f -
  ompipe rbac --operator | kubectl apply -n team-a -f -";

pub(super) const VERSION: &str = "\
Examples:
  ompipe version
  ompipe version --client";

pub(super) const MAN: &str = "\
Examples:
  ompipe man | man -l -
  ompipe man --directory /usr/local/share/man/man1";

pub(super) const COMPLETIONS: &str = "\
Examples:
  ompipe completions bash > /etc/bash_completion.d/ompipe
  ompipe completions zsh > ~/.zfunc/_ompipe
  ompipe completions fish > ~/.config/fish/completions/ompipe.fish";

pub(super) const HISTORY: &str = "\
Examples:
  ompipe history shop.nightly
  ompipe history --state failed --since 7d
  ompipe history shop.nightly --reason OOMKilled -o json";

pub(super) const OPERATOR: &str = "\
Examples:
  ompipe operator --watch-namespaces team-a,team-b
  ompipe operator --drain --watch-namespaces team-a";

pub(super) const SERVE: &str = "\
Examples:
  ompipe serve --config config.yaml --credentials-file credentials
  ompipe serve --config config.yaml --listen 127.0.0.1:8080 --log-format text";

pub(super) const EXIT_HANDLER: &str = "\
Examples:
  ompipe exit-handler                          inside the pod of a run
  pipelineStatus=Failed ompipe exit-handler    as the operator calls it";

pub(super) const CONFIG_CHECK: &str = "\
Examples:
  ompipe config check --config ompipe.yaml
  ompipe config check --config-from secret/openmetadata/ompipe-config";

pub(super) const CONFIG_SHOW: &str = "\
Examples:
  ompipe config show
  ompipe config show -o json";

pub(super) const CONFIG_REFERENCE: &str = "\
Examples:
  ompipe config reference
  ompipe config reference -o json";
