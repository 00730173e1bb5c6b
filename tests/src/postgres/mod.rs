//! A real PostgreSQL with a sample database, as the source of ingestions.
//!
//! ```text
//!   dir/            given by the caller; its owner runs the server
//!   ├── data/       the cluster
//!   ├── log         what the server says
//!   ├── port        so that the next start listens on the same port
//!   └── password    of the superuser `postgres`
//! ```
//!
//! What holds:
//! - Every login is by password (scram), over TCP; there is no Unix socket.
//! - The server runs as an unprivileged user, also when we are root.
//! - It ends with the [`Postgres`] value and, should the process be killed, with the process;
//!   [`Postgres::detach`] lets it live on, [`Postgres::attach`] finds it again.

mod guard;
mod owner;
mod programs;

use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use uuid::Uuid;

use crate::address::{NotLocal, require_local};
use guard::Guard;
use owner::Owner;
use programs::Programs;

/// The sample database.
pub const SAMPLE_DATABASE: &str = "shop";

/// The role that ingestions of the sample database log in as.
pub const SAMPLE_ROLE: &str = "ingest";

/// Tables and views in the sample database.
pub const SAMPLE_TABLES: [&str; 7] = [
    "shop.catalog.categories",
    "shop.catalog.product_prices",
    "shop.catalog.products",
    "shop.sales.customers",
    "shop.sales.order_items",
    "shop.sales.order_totals",
    "shop.sales.orders",
];

const SAMPLE_SQL: &str = include_str!("../../sql/shop.sql");

const SUPERUSER: &str = "postgres";

/// Small and forgetful: the data can be made again, so nothing waits for the disk.
const SETTINGS: &str = "-c unix_socket_directories='' -c fsync=off -c shared_buffers=32MB \
                        -c max_connections=50 -c password_encryption=scram-sha-256";

/// How much of a failed server's log an error shows.
const LOG_LINES: usize = 15;

/// Something about the fixture went wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No PostgreSQL, and no right to install it.
    #[error("PostgreSQL is not installed; run: apt-get install --no-install-recommends postgresql")]
    Missing,
    /// The address could be reached from outside.
    #[error(transparent)]
    NotLocal(#[from] NotLocal),
    /// No address at all.
    #[error("PostgreSQL needs an address to listen on; pass 127.0.0.1")]
    NoAddress,
    /// We are root and there is nobody else.
    #[error(
        "PostgreSQL refuses to run as root, and neither `postgres` nor `nobody` is a user here"
    )]
    NoUser,
    /// The unprivileged user cannot reach the directory.
    #[error(
        "the user that runs PostgreSQL cannot write to {directory}; choose a directory below ones \
         that everybody may enter, such as /tmp"
    )]
    NoAccess {
        /// The directory.
        directory: PathBuf,
    },
    /// A file of ours cannot be read or written.
    #[error("access {path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A program cannot be started.
    #[error("start {program:?}: {source}")]
    Spawn {
        /// The program.
        program: OsString,
        /// Why.
        source: io::Error,
    },
    /// A program failed.
    #[error("{command} failed ({status}):\n{output}")]
    Failed {
        /// The program and its arguments.
        command: String,
        /// How it ended.
        status: std::process::ExitStatus,
        /// What it said.
        output: String,
    },
    /// The server did not come up.
    #[error("PostgreSQL in {dir} did not start on {address}; the end of its log:\n{log}")]
    NotStarted {
        /// The fixture's directory.
        dir: PathBuf,
        /// Where it was to listen.
        address: SocketAddr,
        /// The last lines of its log.
        log: String,
    },
}

impl Error {
    fn file(path: &Path, source: io::Error) -> Self {
        Self::File { path: path.to_owned(), source }
    }
}

/// A running server; dropping it stops it.
#[derive(Debug)]
pub struct Postgres {
    cluster: Cluster,
    address: SocketAddr,
    /// None for a server that lives on without us.
    guard: Option<Guard>,
}

impl Postgres {
    /// Starts a server in `dir`, which is made and filled when it is empty.
    ///
    /// It listens on all of `listen`, loopback or the sandbox's bridge, on one port: the one that it
    /// had before if that is free, else any. The first address is the one that we use ourselves.
    pub fn start(dir: &Path, listen: &[IpAddr]) -> Result<Self, Error> {
        let first = *listen.first().ok_or(Error::NoAddress)?;
        listen.iter().try_for_each(|ip| require_local(*ip))?;
        let cluster = Cluster::open(dir)?;
        cluster.create_if_missing()?;
        let address = SocketAddr::new(first, cluster.choose_port(first)?);
        let guard = Guard::start(&cluster.pg_ctl(listen, address.port()))?;
        let guard = guard.ok_or_else(|| cluster.not_started(address))?;
        Ok(Self { cluster, address, guard: Some(guard) })
    }

    /// Finds the server that an earlier process left in `dir`, if it still runs.
    pub fn attach(dir: &Path) -> Result<Option<Self>, Error> {
        let cluster = Cluster::open(dir)?;
        let address = cluster.running_at();
        Ok(address.map(|address| Self { cluster, address, guard: None }))
    }

    /// Lets the server live on without us.
    pub fn detach(mut self) {
        if let Some(guard) = self.guard.take() {
            guard.release();
        }
    }

    /// Stops the server for good, also one that was found by [`attach`](Self::attach).
    pub fn stop(mut self) -> Result<(), Error> {
        self.end()
    }

    /// Where it listens, by the first of its addresses.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Makes the sample database afresh and lets the role [`SAMPLE_ROLE`] read it with `password`.
    pub fn load_sample(&self, password: &str) -> Result<(), Error> {
        let mut psql = self.psql(SUPERUSER);
        psql.env("SHOP_PASSWORD", password);
        run_with_input(&mut psql, SAMPLE_SQL).map(|_| ())
    }

    /// Runs SQL as the superuser; the rows come back as text, columns apart by `|`.
    pub fn sql(&self, database: &str, sql: &str) -> Result<String, Error> {
        let mut psql = self.psql(database);
        psql.args(["--tuples-only", "--no-align"]);
        run_with_input(&mut psql, sql).map(|output| output.trim_end().to_owned())
    }

    fn psql(&self, database: &str) -> Command {
        let mut psql = Command::new(self.cluster.programs.path("psql"));
        psql.args(["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1"]);
        psql.arg("--host").arg(self.address.ip().to_string());
        psql.arg("--port").arg(self.address.port().to_string());
        psql.args(["--username", SUPERUSER, "--dbname", database]);
        psql.env("PGPASSFILE", "/dev/null").env("PGPASSWORD", self.cluster.password());
        psql
    }

    fn end(&mut self) -> Result<(), Error> {
        let mut stop = self.cluster.command("pg_ctl");
        stop.args(["stop", "--wait", "--silent", "--mode=fast", "--pgdata"]);
        let stopped = run(stop.arg(self.cluster.data())).map(|_| ());
        // Only now: while the server runs, the guard has to watch over us.
        if let Some(guard) = self.guard.take() {
            guard.release();
        }
        stopped
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if self.guard.is_some() {
            // Nobody to tell. The guard is released all the same, as the server is down already or
            // cannot be stopped.
            let _ = self.end();
        }
    }
}

/// The files of a server, running or not.
#[derive(Debug)]
struct Cluster {
    dir: PathBuf,
    owner: Owner,
    programs: Programs,
}

impl Cluster {
    fn open(dir: &Path) -> Result<Self, Error> {
        fs::create_dir_all(dir).map_err(|source| Error::file(dir, source))?;
        let dir = fs::canonicalize(dir).map_err(|source| Error::file(dir, source))?;
        let mut owner = Owner::of_this_process()?;
        let programs = Programs::find_or_install(owner.is_other())?;
        // Again: the package may have brought the user `postgres` along.
        if owner.is_other() {
            owner = Owner::of_this_process()?;
        }
        Ok(Self { dir, owner, programs })
    }

    fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    fn command(&self, program: &str) -> Command {
        let mut command = self.owner.command(self.programs.path(program));
        // Else it complains about our working directory, where its user may have no business.
        command.current_dir(&self.dir);
        command
    }

    fn create_if_missing(&self) -> Result<(), Error> {
        if self.data().join("PG_VERSION").exists() {
            return Ok(());
        }
        self.owner.own(&self.dir)?;
        self.owner.require_access(&self.dir)?;
        self.write("password", &Uuid::new_v4().to_string())?;
        let mut initdb = self.command("initdb");
        initdb.args(["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"]);
        initdb.args(["--username", SUPERUSER]);
        initdb.arg("--pwfile").arg(self.dir.join("password")).arg("--pgdata").arg(self.data());
        run(&mut initdb)?;
        // Pods come from their own subnet, which only the sandbox knows; who can reach the server
        // is decided by the addresses that it listens on.
        self.write("data/pg_hba.conf", "host all all all scram-sha-256\n")
    }

    fn write(&self, name: &str, text: &str) -> Result<(), Error> {
        use std::os::unix::fs::OpenOptionsExt;
        let path = self.dir.join(name);
        let mut options = fs::OpenOptions::new();
        let file = options.write(true).create(true).truncate(true).mode(0o600).open(&path);
        let written = file.and_then(|mut file| file.write_all(text.as_bytes()));
        written.map_err(|source| Error::file(&path, source))?;
        self.owner.own(&path)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.dir.join(name)).unwrap_or_default()
    }

    fn password(&self) -> String {
        self.read("password")
    }

    /// The port of the last time if it is free, so that connections that know it go on working.
    fn choose_port(&self, ip: IpAddr) -> Result<u16, Error> {
        let last: u16 = self.read("port").parse().unwrap_or(0);
        let free = TcpListener::bind((ip, last)).or_else(|_| TcpListener::bind((ip, 0)));
        let port = free.and_then(|listener| listener.local_addr()).map(|address| address.port());
        let port = port.map_err(|source| Error::Spawn { program: "postgres".into(), source })?;
        self.write("port", &port.to_string())?;
        Ok(port)
    }

    /// The call that starts and stops the server, without its verb.
    fn pg_ctl(&self, listen: &[IpAddr], port: u16) -> Command {
        let addresses: Vec<String> = listen.iter().map(ToString::to_string).collect();
        let addresses = addresses.join(",");
        let options = format!("-p {port} -c listen_addresses='{addresses}' {SETTINGS}");
        let mut pg_ctl = self.command("pg_ctl");
        pg_ctl.arg("--pgdata").arg(self.data()).arg("--log").arg(self.dir.join("log"));
        pg_ctl.arg("--options").arg(options);
        pg_ctl
    }

    /// Where a live server in this directory listens, as its pid file says.
    fn running_at(&self) -> Option<SocketAddr> {
        let mut status = self.command("pg_ctl");
        run(status.arg("status").arg("--pgdata").arg(self.data())).ok()?;
        let pid_file = self.read("data/postmaster.pid");
        let lines: Vec<&str> = pid_file.lines().collect();
        let (port, ip) = (lines.get(3)?, lines.get(5)?);
        Some(SocketAddr::new(ip.trim().parse().ok()?, port.trim().parse().ok()?))
    }

    fn not_started(&self, address: SocketAddr) -> Error {
        let log = self.read("log");
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines[lines.len().saturating_sub(LOG_LINES)..].join("\n");
        Error::NotStarted { dir: self.dir.clone(), address, log: tail }
    }
}

/// Runs a program to its end; its output, or an error with what it complained about.
fn run(command: &mut Command) -> Result<String, Error> {
    run_with_input(command, "")
}

fn run_with_input(command: &mut Command, input: &str) -> Result<String, Error> {
    let program = command.get_program().to_owned();
    let spawn = |source| Error::Spawn { program, source };
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = command.spawn().and_then(|mut child| {
        if let Some(mut stdin) = child.stdin.take() {
            match stdin.write_all(input.as_bytes()) {
                // The program ended before it read all; its exit code says more.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
                written => written?,
            }
        }
        child.wait_with_output()
    });
    let output = output.map_err(spawn)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = [output.stdout, output.stderr].concat();
    let output_text = String::from_utf8_lossy(&said).trim_end().to_owned();
    Err(Error::Failed { command: shown(command), status: output.status, output: output_text })
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}
