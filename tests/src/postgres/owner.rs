//! The user that the server runs as: PostgreSQL refuses to run as root.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::Path;
use std::process::Command;

use super::{Error, run};

/// Users that may own a cluster when we are root, the first that exists is taken.
const UNPRIVILEGED: [&str; 2] = ["postgres", "nobody"];

/// Who owns the cluster's files and runs its programs.
#[derive(Clone, Debug)]
pub(super) enum Owner {
    /// Ourselves; we are not root.
    Us,
    /// Somebody without privileges; we are root.
    Other { uid: u32, gid: u32 },
}

impl Owner {
    /// Who it is for this process.
    pub(super) fn of_this_process() -> Result<Self, Error> {
        if !is_root()? {
            return Ok(Self::Us);
        }
        let known =
            UNPRIVILEGED.into_iter().find_map(|user| Some((id("-u", user)?, id("-g", user)?)));
        let (uid, gid) = known.ok_or(Error::NoUser)?;
        Ok(Self::Other { uid, gid })
    }

    /// Whether it is somebody else, which takes root.
    pub(super) fn is_other(&self) -> bool {
        matches!(self, Self::Other { .. })
    }

    /// A command that runs as the owner.
    pub(super) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        match self {
            Self::Us => Command::new(program),
            Self::Other { uid, gid } => {
                let mut command = Command::new("setpriv");
                command.arg(format!("--reuid={uid}")).arg(format!("--regid={gid}"));
                command.args(["--clear-groups", "--"]).arg(program);
                command
            }
        }
    }

    /// Hands a file or directory over to the owner.
    pub(super) fn own(&self, path: &Path) -> Result<(), Error> {
        match self {
            Self::Us => Ok(()),
            Self::Other { uid, gid } => {
                chown(path, Some(*uid), Some(*gid)).map_err(|source| Error::file(path, source))
            }
        }
    }

    /// Checks that the owner gets into a directory: those above it may be closed to others.
    pub(super) fn require_access(&self, directory: &Path) -> Result<(), Error> {
        let tried = run(self.command("test").arg("-w").arg(directory));
        tried.map(|_| ()).map_err(|_| Error::NoAccess { directory: directory.to_owned() })
    }
}

fn is_root() -> Result<bool, Error> {
    let us = Path::new("/proc/self");
    fs::metadata(us).map(|us| us.uid() == 0).map_err(|source| Error::file(us, source))
}

fn id(flag: &str, user: &str) -> Option<u32> {
    run(Command::new("id").args([flag, user])).ok()?.trim().parse().ok()
}
