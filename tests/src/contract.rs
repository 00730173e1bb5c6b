//! What each key of the configuration promises, as data: the value to set, and for every kind of
//! workload where it must stand, or why the key does not concern it (docs/configuration.md).
//!
//! ```text
//! Row { key, parameters, variables }
//!   └── Promise { stages, kept }   kept: At([(pointer, value)])  or  Nowhere(why)
//! ```
//! Pointers are those of a [`view`]: a workload cut into its object, the limits of its runs, and
//! the pod of one stage, so that a pointer means the same for a Job and for an `OMJob`.

use serde_json::{Map, Value, json};

/// Name of the service that the table speaks of.
pub const SERVICE: &str = "shop";
/// Name of the pipeline that the table speaks of.
pub const PIPELINE: &str = "nightly";
/// Schedule of the pipeline, which does not fire while a test runs.
pub const SCHEDULE: &str = "0 2 29 2 *";
/// The same after `scheduleSpread` of 59 minutes, which moves it by 41: by the id that its fully qualified name
/// gives the pipeline.
pub const MOVED_SCHEDULE: &str = "41 2 29 2 *";
/// Fully qualified name of the pipeline.
pub const PIPELINE_FQN: &str = "shop.nightly";
/// Name, also the fully qualified one, of the automation.
pub const AUTOMATION: &str = "check-shop";
/// Name, also the fully qualified one, of the application.
pub const APPLICATION: &str = "tagger";

/// Every pod that ompipe describes, by the object in which it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// A run on demand in mode job.
    Job,
    /// The runs of a schedule in mode job.
    CronJob,
    /// A run on demand in operator mode.
    OmJobMain,
    /// Its exit handler.
    OmJobExit,
    /// The runs of a schedule in operator mode.
    CronOmJobMain,
    /// Their exit handler.
    CronOmJobExit,
    /// An automation, in either mode.
    Automation,
    /// An application in mode job.
    Application,
    /// An application in operator mode.
    ApplicationMain,
    /// Its exit handler, which does nothing.
    ApplicationExit,
}

use Stage::{
    Application, ApplicationExit, ApplicationMain, Automation, CronJob, CronOmJobExit,
    CronOmJobMain, Job, OmJobExit, OmJobMain,
};

/// Every stage.
pub const ALL: [Stage; 10] = [
    Job,
    CronJob,
    OmJobMain,
    OmJobExit,
    CronOmJobMain,
    CronOmJobExit,
    Automation,
    Application,
    ApplicationMain,
    ApplicationExit,
];
/// What a pipeline runs, with the exit handlers.
pub const OF_PIPELINES: [Stage; 6] =
    [Job, CronJob, OmJobMain, OmJobExit, CronOmJobMain, CronOmJobExit];
/// What runs beside pipelines.
pub const OF_TASKS: [Stage; 4] = [Automation, Application, ApplicationMain, ApplicationExit];
/// The pods that work.
pub const WORKERS: [Stage; 7] =
    [Job, CronJob, OmJobMain, CronOmJobMain, Automation, Application, ApplicationMain];
/// The pods that come after them.
pub const EXIT_HANDLERS: [Stage; 3] = [OmJobExit, CronOmJobExit, ApplicationExit];
/// Pods of an object with a schedule.
pub const SCHEDULED: [Stage; 3] = [CronJob, CronOmJobMain, CronOmJobExit];
/// Pods of an object without one.
pub const ON_DEMAND: [Stage; 7] =
    [Job, OmJobMain, OmJobExit, Automation, Application, ApplicationMain, ApplicationExit];

impl Stage {
    /// The stages that an object of this kind holds, for objects of pipelines.
    #[must_use]
    pub fn of_pipeline_kind(kind: &str) -> &'static [Self] {
        match kind {
            "Job" => &[Job],
            "CronJob" => &[CronJob],
            "OMJob" => &[OmJobMain, OmJobExit],
            "CronOMJob" => &[CronOmJobMain, CronOmJobExit],
            _ => &[],
        }
    }

    /// Where the limits of a run stand in the object.
    const fn run(self) -> &'static str {
        match self {
            CronJob => "/spec/jobTemplate/spec",
            CronOmJobMain | CronOmJobExit => "/spec/omJobSpec",
            Job | OmJobMain | OmJobExit | Automation | Application | ApplicationMain
            | ApplicationExit => "/spec",
        }
    }

    /// Where the pod stands beside those limits.
    const fn pod(self) -> &'static str {
        match self {
            Job | CronJob | Automation | Application => "template",
            OmJobMain | CronOmJobMain | ApplicationMain => "mainPodSpec",
            OmJobExit | CronOmJobExit | ApplicationExit => "exitHandlerSpec",
        }
    }
}

/// Cuts an object into `object` (without its runs), `run` (without its pods) and `pod`: the
/// template of the pod of one stage. `pod_of_stage` makes it of a stage of an `OMJob`, as the
/// operator does.
///
/// # Panics
/// When the object is not of the kind that the stage belongs to.
#[must_use]
pub fn view(stage: Stage, object: &Value, pod_of_stage: impl Fn(&Value) -> Value) -> Value {
    let mut view = cut(stage, object, pod_of_stage);
    for list in NAMED_LISTS {
        if let Some(list) = view.pointer_mut(list) {
            name_members(list);
        }
    }
    view
}

/// The same with every list as it is.
///
/// # Panics
/// As [`view`].
#[must_use]
pub fn cut(stage: Stage, object: &Value, pod_of_stage: impl Fn(&Value) -> Value) -> Value {
    let (mut object, mut run) = (object.clone(), Value::Null);
    if let Some(place) = object.pointer_mut(stage.run()) {
        run = place.take();
    }
    let pod = match stage.pod() {
        "template" => run["template"].clone(),
        stage_spec => pod_of_stage(&run[stage_spec]),
    };
    if let Some(limits) = run.as_object_mut() {
        limits.retain(|key, _| !["template", "mainPodSpec", "exitHandlerSpec"].contains(&&**key));
    }
    json!({ "object": object, "run": run, "pod": pod })
}

/// Lists to which several keys add: in a view their members stand under their names, so that a
/// pointer does not depend on what else there is.
const NAMED_LISTS: [&str; 3] =
    ["/pod/spec/volumes", "/pod/spec/initContainers", "/pod/spec/containers/0/volumeMounts"];

fn name_members(list: &mut Value) {
    let members = list.as_array().into_iter().flatten();
    let named =
        members.filter_map(|member| Some((member["name"].as_str()?.to_owned(), member.clone())));
    *list = named.collect::<Map<_, _>>().into();
}

/// What a view has at a pointer; null for what is not there.
#[must_use]
pub fn at<'v>(view: &'v Value, pointer: &str) -> &'v Value {
    view.pointer(pointer).unwrap_or(&Value::Null)
}

/// One key of the configuration.
#[derive(Clone, Debug)]
pub struct Row {
    /// The key below `parameters`.
    pub key: &'static str,
    /// Parameters that set it, with those that it cannot do without.
    pub parameters: Value,
    /// Variables of the environment that set the same.
    pub variables: Vec<(&'static str, String)>,
    /// What holds then; each stage is named once.
    pub promises: Vec<Promise>,
    /// Whether it takes the place of what other keys say, so that not all can hold at once.
    pub is_alternative: bool,
}

/// What a key promises of some stages.
#[derive(Clone, Debug)]
pub struct Promise {
    /// The stages.
    pub stages: &'static [Stage],
    /// What it promises.
    pub kept: Kept,
}

/// How a promise is kept.
#[derive(Clone, Debug)]
pub enum Kept {
    /// By these values of the [`view`], null for what must not be there, and no other difference.
    At(Vec<(&'static str, Value)>),
    /// By nothing; the text says why.
    Nowhere(&'static str),
}

impl Row {
    fn new(key: &'static str, value: Value) -> Self {
        let parameters = Map::from_iter([(key.to_owned(), value)]).into();
        Self { key, parameters, variables: Vec::new(), promises: Vec::new(), is_alternative: false }
    }

    /// Takes the place of what other keys say.
    const fn alternative(mut self) -> Self {
        self.is_alternative = true;
        self
    }

    /// Also needs another parameter.
    fn with(mut self, key: &str, value: Value) -> Self {
        self.parameters[key] = value;
        self
    }

    fn variable(mut self, name: &'static str, text: impl Into<String>) -> Self {
        self.variables.push((name, text.into()));
        self
    }

    fn at(self, stages: &'static [Stage], values: Vec<(&'static str, Value)>) -> Self {
        self.promise(stages, Kept::At(values))
    }

    fn nowhere(self, stages: &'static [Stage], why: &'static str) -> Self {
        self.promise(stages, Kept::Nowhere(why))
    }

    fn promise(mut self, stages: &'static [Stage], kept: Kept) -> Self {
        self.promises.push(Promise { stages, kept });
        self
    }

    /// What is promised of a stage.
    pub fn promised(&self, stage: Stage) -> impl Iterator<Item = &Kept> {
        let of_stage = move |promise: &&Promise| promise.stages.contains(&stage);
        self.promises.iter().filter(of_stage).map(|promise| &promise.kept)
    }

    /// The values that a stage must have; none for a stage that the key does not concern.
    pub fn values(&self, stage: Stage) -> impl Iterator<Item = &(&'static str, Value)> {
        self.promised(stage).flat_map(|kept| match kept {
            Kept::At(values) => values.as_slice(),
            Kept::Nowhere(_) => &[],
        })
    }

    /// True for a key that is seen on some object.
    #[must_use]
    pub fn is_on_objects(&self) -> bool {
        self.promises.iter().any(|promise| matches!(promise.kept, Kept::At(_)))
    }
}

/// The parameters of every key that is seen on objects, all at once but alternatives.
#[must_use]
pub fn all_parameters(table: &[Row]) -> Value {
    let on_objects = table.iter().filter(|row| row.is_on_objects() && !row.is_alternative);
    let pairs = on_objects.filter_map(|row| row.parameters.as_object()).flatten();
    pairs.map(|(key, value)| (key.clone(), value.clone())).collect::<Map<_, _>>().into()
}

/// The table. Objects are in `namespace`.
#[must_use]
pub fn table(namespace: &str) -> Vec<Row> {
    [
        places(namespace),
        images(),
        amounts(),
        supervision(),
        limits(),
        queues(),
        schedules(),
        security(),
        scheduling(),
        metadata(),
        templates(),
        environment(),
        connection(),
        switches(),
    ]
    .concat()
}

const CONTAINER_IMAGE: &str = "/pod/spec/containers/0/image";

fn places(namespace: &str) -> Vec<Row> {
    let in_namespace = ("/object/metadata/namespace", json!(namespace));
    let variable = json!({ "name": "namespace", "value": namespace });
    vec![
        Row::new("namespace", json!(namespace))
            .variable("K8S_NAMESPACE", namespace)
            .at(
                &OF_PIPELINES,
                vec![in_namespace.clone(), ("/pod/spec/containers/0/env/5", variable)],
            )
            .at(&OF_TASKS, vec![in_namespace]),
        Row::new("serviceAccountName", json!("worker"))
            .variable("K8S_SERVICE_ACCOUNT_NAME", "worker")
            .at(&ALL, vec![("/pod/spec/serviceAccountName", json!("worker"))]),
    ]
}

fn images() -> Vec<Row> {
    let secrets = json!([{ "name": "registry-a" }, { "name": "registry-b" }]);
    vec![
        Row::new("ingestionImage", json!("registry.local:5000/ingestion:1"))
            .variable("K8S_INGESTION_IMAGE", "registry.local:5000/ingestion:1")
            .at(&ALL, vec![(CONTAINER_IMAGE, json!("registry.local:5000/ingestion:1"))]),
        Row::new("imagePullPolicy", json!("Always"))
            .variable("K8S_IMAGE_PULL_POLICY", "Always")
            .at(&ALL, vec![("/pod/spec/containers/0/imagePullPolicy", json!("Always"))]),
        Row::new("imagePullSecrets", json!(["registry-a", "registry-b"]))
            .variable("K8S_IMAGE_PULL_SECRETS", "registry-a,registry-b")
            .at(&ALL, vec![("/pod/spec/imagePullSecrets", secrets)]),
    ]
}

fn amounts() -> Vec<Row> {
    let of_worker = json!({
        "requests": { "cpu": "1", "memory": "2Gi" },
        "limits": { "cpu": "4", "memory": "8Gi", "ephemeral-storage": "1Gi" },
    });
    let of_exit_handler = json!({ "limits": { "cpu": "2", "memory": "1Gi" } });
    vec![
        Row::new("resources", of_worker)
            .variable("K8S_REQUESTS_CPU", "1")
            .variable("K8S_REQUESTS_MEMORY", "2Gi")
            .variable("K8S_LIMITS_CPU", "4")
            .variable("K8S_LIMITS_MEMORY", "8Gi")
            .at(
                &WORKERS,
                vec![
                    ("/pod/spec/containers/0/resources/requests/cpu", json!("1")),
                    ("/pod/spec/containers/0/resources/requests/memory", json!("2Gi")),
                    ("/pod/spec/containers/0/resources/limits/cpu", json!("4")),
                    ("/pod/spec/containers/0/resources/limits/memory", json!("8Gi")),
                    (EPHEMERAL_STORAGE, json!("1Gi")),
                ],
            )
            .nowhere(&EXIT_HANDLERS, "exitHandlerResources says what they may use"),
        Row::new("exitHandlerResources", of_exit_handler)
            .at(
                &EXIT_HANDLERS,
                vec![
                    ("/pod/spec/containers/0/resources/limits/cpu", json!("2")),
                    ("/pod/spec/containers/0/resources/limits/memory", json!("1Gi")),
                ],
            )
            .nowhere(&WORKERS, "in mode job the exit handler is a hook in the worker's container"),
    ]
}

fn supervision() -> Vec<Row> {
    const IMAGE: &str = "registry.local:5000/exit-handler:1";
    let amounts = json!({
        "requests": { "cpu": "20m", "memory": "32Mi" },
        "limits": { "cpu": "500m", "memory": "32Mi" },
    });
    let supervised = |reports: bool, command: &[&str]| {
        let mut order = vec!["/ompipe/ompipe-exit", "supervise", "--grace-seconds", "60"];
        order.extend((!reports).then_some("--no-report"));
        order.push("--");
        let mount = json!({ "name": "ompipe-exit", "mountPath": "/ompipe", "readOnly": true });
        vec![
            ("/pod/spec/containers/0/command", json!([&order[..], command].concat())),
            ("/pod/spec/containers/0/volumeMounts/ompipe-exit", mount),
            ("/pod/spec/volumes/ompipe-exit/emptyDir", json!({})),
            (
                "/pod/spec/initContainers/install-exit-handler",
                json!({
                    "name": "install-exit-handler",
                    "image": IMAGE,
                    "imagePullPolicy": "IfNotPresent",
                    "command": ["/ompipe-exit", "install", "/ompipe"],
                    "resources": amounts,
                    "volumeMounts": [{ "name": "ompipe-exit", "mountPath": "/ompipe" }],
                    "securityContext": {
                        "runAsNonRoot": true,
                        "allowPrivilegeEscalation": false,
                        "readOnlyRootFilesystem": true,
                        "capabilities": { "drop": ["ALL"] },
                        "seccompProfile": { "type": "RuntimeDefault" },
                    },
                }),
            ),
        ]
    };
    let main: &[&str] = &["python", "main.py"];
    let application: &[&str] = &["python", "-m", "metadata.applications.runner"];
    let own_report = [("/pod/spec/containers/0/lifecycle", Value::Null)];
    let exit_handler = vec![
        (CONTAINER_IMAGE, json!(IMAGE)),
        ("/pod/spec/containers/0/command", json!(["/ompipe-exit", "report"])),
        ("/pod/spec/containers/0/resources", amounts.clone()),
    ];
    vec![
        Row::new("exitHandlerImage", json!(IMAGE))
            .alternative()
            .at(&[Job, CronJob], supervised(true, main).into_iter().chain(own_report).collect())
            .at(&[OmJobMain, CronOmJobMain], supervised(false, main))
            .at(&[OmJobExit, CronOmJobExit], exit_handler)
            .at(&[Automation], supervised(true, &["python", "run_automation.py"]))
            .at(&[Application, ApplicationMain], supervised(false, application))
            .at(&[ApplicationExit], vec![("/pod/spec/containers/0/resources", amounts.clone())]),
        Row::new("superviseMain", json!(false))
            .at(&[Job, CronJob], vec![("/pod/spec/containers/0/command", json!(main))])
            .nowhere(&[OmJobMain, CronOmJobMain], "the operator reports the end")
            .nowhere(&EXIT_HANDLERS, "they are no workers")
            .nowhere(&[Automation, Application, ApplicationMain], "no pipeline's run is reported"),
    ]
}

/// An amount for which the chart has no variable.
pub const EPHEMERAL_STORAGE: &str = "/pod/spec/containers/0/resources/limits/ephemeral-storage";

fn limits() -> Vec<Row> {
    vec![
        Row::new("ttlSecondsAfterFinished", json!(77))
            .variable("K8S_TTL_SECONDS_AFTER_FINISHED", "77")
            .at(&ALL, vec![("/run/ttlSecondsAfterFinished", json!(77))]),
        Row::new("activeDeadlineSeconds", json!(78))
            .variable("K8S_ACTIVE_DEADLINE_SECONDS", "78")
            .at(&ALL, vec![("/run/activeDeadlineSeconds", json!(78))]),
        Row::new("retryWithMoreMemory", json!({ "factor": 3, "limit": "32Gi" }))
            .at(
                &[OmJobMain, OmJobExit, CronOmJobMain, CronOmJobExit],
                vec![("/run/retryWithMoreMemory", json!({ "factor": 3, "limit": "32Gi" }))],
            )
            .nowhere(&[Job, CronJob], "the attempts of a Job have one template")
            .nowhere(&OF_TASKS, "neither automations nor applications are tried again"),
        Row::new("backoffLimit", json!(7))
            .variable("K8S_BACKOFF_LIMIT", "7")
            .at(&OF_PIPELINES, vec![("/run/backoffLimit", json!(7))])
            .nowhere(&OF_TASKS, "an automation answers somebody who waits, an application keeps a state of its own: neither is tried again"),
    ]
}

/// The annotation that a schedule has which `scheduleSpread` moved.
const SCHEDULE_BEFORE_SPREAD: &str =
    "/object/metadata/annotations/pipelines.openmetadata.org~1schedule-before-spread";

fn schedules() -> Vec<Row> {
    const WHY: &str = "only what a schedule makes is started late or kept by number";
    const MOVED: &str = "only a schedule can be moved";
    let spread = |key, value| {
        Row::new(key, value)
            .at(
                &SCHEDULED,
                vec![
                    ("/object/spec/schedule", json!(MOVED_SCHEDULE)),
                    (SCHEDULE_BEFORE_SPREAD, json!(SCHEDULE)),
                ],
            )
            .nowhere(&ON_DEMAND, MOVED)
    };
    vec![
        spread("scheduleSpread", json!(59)),
        spread("serviceScheduleSpread", json!({ SERVICE: 59 })),
        spread("pipelineScheduleSpread", json!({ PIPELINE_FQN: 59 })),
        Row::new("concurrencyPolicy", json!("Replace"))
            .at(&SCHEDULED, vec![("/object/spec/concurrencyPolicy", json!("Replace"))])
            .nowhere(&ON_DEMAND, "the client itself obeys it when it is asked to run"),
        Row::new("startingDeadlineSeconds", json!(79))
            .at(&SCHEDULED, vec![("/object/spec/startingDeadlineSeconds", json!(79))])
            .nowhere(&ON_DEMAND, WHY),
        Row::new("successfulJobsHistoryLimit", json!(5))
            .variable("K8S_SUCCESS_JOBS_HISTORY_LIMIT", "5")
            .at(&SCHEDULED, vec![("/object/spec/successfulJobsHistoryLimit", json!(5))])
            .nowhere(&ON_DEMAND, WHY),
        Row::new("failedJobsHistoryLimit", json!(6))
            .variable("K8S_FAILED_JOBS_HISTORY_LIMIT", "6")
            .at(&SCHEDULED, vec![("/object/spec/failedJobsHistoryLimit", json!(6))])
            .nowhere(&ON_DEMAND, WHY),
    ]
}

/// Where a label of Kueue stands: on Jobs, which it knows, and on the workers' pods of `OMJob`s.
type Places = [(&'static [Stage], &'static str); 3];

const QUEUE: Places = [
    (&[Job], "/object/metadata/labels/kueue.x-k8s.io~1queue-name"),
    (&[CronJob], "/object/spec/jobTemplate/metadata/labels/kueue.x-k8s.io~1queue-name"),
    (&[OmJobMain, CronOmJobMain], "/pod/metadata/labels/kueue.x-k8s.io~1queue-name"),
];
const PRIORITY: Places = [
    (&[Job], "/object/metadata/labels/kueue.x-k8s.io~1priority-class"),
    (&[CronJob], "/object/spec/jobTemplate/metadata/labels/kueue.x-k8s.io~1priority-class"),
    (&[OmJobMain, CronOmJobMain], "/pod/metadata/labels/kueue.x-k8s.io~1priority-class"),
];

fn queues() -> Vec<Row> {
    let elsewhere = |row: Row| {
        row.nowhere(&[OmJobExit, CronOmJobExit], "the report of an end waits for no quota")
            .nowhere(&OF_TASKS, "they belong to no pipeline, and people wait for automations")
    };
    let queue = |key, value: Value| {
        let places = QUEUE.into_iter();
        elsewhere(places.fold(Row::new(key, value), |row, (stages, label)| {
            row.at(stages, vec![(label, json!("batch"))])
        }))
    };
    let priority = |key, value: Value| {
        let row = Row::new(key, value).with("queueName", json!("batch"));
        let places = QUEUE.into_iter().zip(PRIORITY);
        elsewhere(places.fold(row, |row, ((stages, queue), (_, priority))| {
            row.at(stages, vec![(queue, json!("batch")), (priority, json!("low"))])
        }))
    };
    vec![
        queue("queueName", json!("batch")),
        queue("serviceQueueNames", json!({ SERVICE: "batch" })),
        queue("pipelineQueueNames", json!({ PIPELINE_FQN: "batch" })),
        priority("workloadPriorityClass", json!("low")),
        priority("serviceWorkloadPriorityClasses", json!({ SERVICE: "low" })),
        priority("pipelineWorkloadPriorityClasses", json!({ PIPELINE_FQN: "low" })),
    ]
}

fn security() -> Vec<Row> {
    vec![
        Row::new("runAsUser", json!(2001))
            .variable("K8S_RUN_AS_USER", "2001")
            .at(&ALL, vec![("/pod/spec/securityContext/runAsUser", json!(2001))]),
        Row::new("runAsGroup", json!(2002))
            .variable("K8S_RUN_AS_GROUP", "2002")
            .at(&ALL, vec![("/pod/spec/securityContext/runAsGroup", json!(2002))]),
        Row::new("fsGroup", json!(2003))
            .variable("K8S_FS_GROUP", "2003")
            .at(&ALL, vec![("/pod/spec/securityContext/fsGroup", json!(2003))]),
        Row::new("runAsNonRoot", json!(false)).variable("K8S_RUN_AS_NON_ROOT", "false").at(
            &ALL,
            vec![
                ("/pod/spec/securityContext/runAsNonRoot", json!(false)),
                ("/pod/spec/containers/0/securityContext/runAsNonRoot", json!(false)),
            ],
        ),
        seccomp("seccompProfileType"),
        seccomp("seccompLocalhostProfile"),
    ]
}

/// A profile of type `Localhost` is both keys or neither.
fn seccomp(key: &'static str) -> Row {
    let profile = json!({ "type": "Localhost", "localhostProfile": "profiles/worker.json" });
    let variables = [
        ("K8S_SECCOMP_PROFILE_TYPE", "Localhost"),
        ("K8S_SECCOMP_LOCALHOST_PROFILE", "profiles/worker.json"),
    ];
    let [own, other] = match key {
        "seccompProfileType" => variables,
        _ => [variables[1], variables[0]],
    };
    Row::new(key, Value::Null)
        .variable(own.0, own.1)
        .variable(other.0, other.1)
        .with("seccompProfileType", profile["type"].clone())
        .with("seccompLocalhostProfile", profile["localhostProfile"].clone())
        .at(
            &ALL,
            vec![
                ("/pod/spec/securityContext/seccompProfile", profile.clone()),
                ("/pod/spec/containers/0/securityContext/seccompProfile", profile),
            ],
        )
}

fn scheduling() -> Vec<Row> {
    let tolerations = json!([
        { "key": "spot", "operator": "Equal", "value": "yes", "effect": "NoSchedule" },
        { "key": "slow", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 60 },
    ]);
    vec![
        Row::new("nodeSelector", json!({ "zone": "a", "disk/type": "ssd" }))
            .variable("K8S_NODE_SELECTOR", "zone=a,disk/type=ssd")
            .at(&ALL, vec![("/pod/spec/nodeSelector", json!({ "zone": "a", "disk/type": "ssd" }))]),
        Row::new("tolerations", tolerations.clone())
            .variable("K8S_TOLERATIONS", tolerations.to_string())
            .at(&ALL, vec![("/pod/spec/tolerations", tolerations)]),
    ]
}

fn metadata() -> Vec<Row> {
    vec![
        Row::new("podAnnotations", json!({ "example.org/a": "b c" }))
            .variable("K8S_POD_ANNOTATIONS", "example.org/a=b c")
            .at(&ALL, vec![("/pod/metadata/annotations/example.org~1a", json!("b c"))]),
        Row::new("podLabels", json!({ "example.org/team": "data" }))
            .at(&ALL, vec![("/pod/metadata/labels/example.org~1team", json!("data"))]),
    ]
}

fn templates() -> Vec<Row> {
    let hostname = json!({ "spec": { "hostname": "of-one" } });
    vec![
        Row::new("podTemplate", json!({ "spec": { "priorityClassName": "low" } }))
            .at(&ALL, vec![("/pod/spec/priorityClassName", json!("low"))]),
        Row::new(
            "servicePodTemplates",
            json!({
                SERVICE: { "spec": { "terminationGracePeriodSeconds": 90 } },
                "other": { "spec": { "terminationGracePeriodSeconds": 91 } },
            }),
        )
        .at(&OF_PIPELINES, vec![("/pod/spec/terminationGracePeriodSeconds", json!(90))])
        .nowhere(&OF_TASKS, "an automation or application belongs to no service"),
        Row::new(
            "pipelinePodTemplates",
            json!({
                PIPELINE_FQN: hostname,
                AUTOMATION: hostname,
                APPLICATION: hostname,
                "shop.other": { "spec": { "hostname": "of-another" } },
            }),
        )
        .at(&ALL, vec![("/pod/spec/hostname", json!("of-one"))]),
    ]
}

fn environment() -> Vec<Row> {
    let extra = json!({ "name": "LOG_LEVEL", "value": "DEBUG" });
    let file = json!({ "name": "configFile", "value": "/etc/ompipe/config.yaml" });
    let mount = json!({ "name": "config", "mountPath": "/etc/ompipe", "readOnly": true });
    vec![
        Row::new("extraEnvVars", json!(["LOG_LEVEL:DEBUG"]))
            .variable("K8S_EXTRA_ENV_VARS", r#"["LOG_LEVEL:DEBUG"]"#)
            .at(&OF_PIPELINES, vec![("/pod/spec/containers/0/env/7", extra.clone())])
            .at(
                &[Automation, Application, ApplicationMain],
                vec![("/pod/spec/containers/0/env/1", extra)],
            )
            .nowhere(&[ApplicationExit], "it does nothing, so it has no environment"),
        Row::new("configDelivery", json!("file"))
            .at(
                &OF_PIPELINES,
                vec![
                    ("/pod/spec/containers/0/env/0", file),
                    ("/pod/spec/containers/0/volumeMounts/config", mount),
                    ("/pod/spec/volumes/config/name", json!("config")),
                ],
            )
            .nowhere(&OF_TASKS, "the programs of automations and applications read the variable"),
    ]
}

fn connection() -> Vec<Row> {
    const WHY: &str = "it says how ompipe reaches the API server";
    vec![
        Row::new("inCluster", json!(true)).nowhere(&ALL, WHY),
        Row::new("kubeconfigPath", json!("/etc/kubeconfig")).nowhere(&ALL, WHY),
        Row::new("kubeConfigContent", json!("apiVersion: v1")).nowhere(&ALL, WHY),
    ]
}

fn switches() -> Vec<Row> {
    const DIAGNOSTICS: &str = "diagnostics are always collected";
    vec![
        Row::new("useOMJobOperator", json!(true))
            .variable("USE_OMJOB_OPERATOR", "true")
            .nowhere(&ALL, "it says which kinds of objects are made, not what is in them"),
        Row::new("enableFailureDiagnostics", json!(false))
            .variable("K8S_ENABLE_FAILURE_DIAGNOSTICS", "false")
            .nowhere(&ALL, DIAGNOSTICS),
        Row::new("failureDiagnosticsEnabled", json!(false)).nowhere(&ALL, DIAGNOSTICS),
        Row::new("skipInit", json!(true)).nowhere(&ALL, "it is a switch of upstream's tests"),
    ]
}
