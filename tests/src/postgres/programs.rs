//! PostgreSQL's programs, from Debian's packages.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Error, run};

/// Where Debian puts each major version: `/usr/lib/postgresql/<major>/bin`.
const VERSIONS: &str = "/usr/lib/postgresql";

/// Keeps the package from creating and starting a cluster of its own.
const CREATECLUSTER: &str = "/etc/postgresql-common/createcluster.conf";

/// The directory with `initdb`, `pg_ctl` and `psql` of the newest installed version.
#[derive(Clone, Debug)]
pub(super) struct Programs {
    bin: PathBuf,
}

impl Programs {
    /// Finds the programs; installs them when they are missing and we are root.
    pub(super) fn find_or_install(is_root: bool) -> Result<Self, Error> {
        if let Some(found) = newest(Path::new(VERSIONS)) {
            return Ok(found);
        }
        if !is_root {
            return Err(Error::Missing);
        }
        install()?;
        newest(Path::new(VERSIONS)).ok_or(Error::Missing)
    }

    /// The path of one program.
    pub(super) fn path(&self, program: &str) -> PathBuf {
        self.bin.join(program)
    }
}

fn newest(versions: &Path) -> Option<Programs> {
    let entries = fs::read_dir(versions).into_iter().flatten().flatten();
    let bins = entries.map(|entry| (major(&entry.file_name()), entry.path().join("bin")));
    let complete = bins.filter(|(_, bin)| bin.join("initdb").exists() && bin.join("psql").exists());
    complete.max().map(|(_, bin)| Programs { bin })
}

/// 9 sorts before 15.
fn major(name: &OsStr) -> u32 {
    name.to_str().and_then(|name| name.parse().ok()).unwrap_or(0)
}

/// `initdb` comes with the server package, whose installation would start a server on port 5432.
fn install() -> Result<(), Error> {
    if !Path::new(CREATECLUSTER).exists() {
        let directory = Path::new(CREATECLUSTER).parent().unwrap_or_else(|| Path::new("/"));
        let written = fs::create_dir_all(directory)
            .and_then(|()| fs::write(CREATECLUSTER, "create_main_cluster = false\n"));
        written.map_err(|source| Error::File { path: CREATECLUSTER.into(), source })?;
    }
    apt_get(&["update"])?;
    apt_get(&["install", "--yes", "--no-install-recommends", "postgresql"])
}

fn apt_get(arguments: &[&str]) -> Result<(), Error> {
    let mut command = Command::new("apt-get");
    run(command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive")).map(|_| ())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::newest;

    #[test]
    fn the_newest_complete_version_is_taken() {
        let versions = tempfile::tempdir().unwrap();
        for (version, programs) in [("9", 2), ("15", 2), ("16", 1)] {
            let bin = versions.path().join(version).join("bin");
            fs::create_dir_all(&bin).unwrap();
            for program in ["psql", "initdb"].into_iter().take(programs) {
                fs::write(bin.join(program), "").unwrap();
            }
        }
        let found = newest(versions.path()).unwrap();
        assert_eq!(found.path("psql"), versions.path().join("15/bin/psql"));
    }

    #[test]
    fn no_version_is_no_find() {
        let versions = tempfile::tempdir().unwrap();
        assert!(newest(versions.path()).is_none());
        assert!(newest(&versions.path().join("absent")).is_none());
    }
}
