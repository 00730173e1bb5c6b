//! The shell around the worker of a plain Job that has no supervisor: it reports what ends by
//! itself with the exit handler of the worker's own image.

use k8s_openapi::api::core::v1::PodTemplateSpec;
use ompipe_core::run::MAIN_CONTAINER;

/// POSIX shell; its arguments are the worker's command.
pub(super) const SCRIPT: &str = include_str!("supervise.sh");
/// What the shell calls itself in its messages.
const NAME: &str = "ompipe";

/// Puts the shell in front of the worker's command, whatever that is by now.
pub(super) fn wrap(template: &mut PodTemplateSpec) {
    let containers = template.spec.iter_mut().flat_map(|spec| &mut spec.containers);
    for main in containers.filter(|container| container.name == MAIN_CONTAINER) {
        let shell = ["/bin/sh", "-c", SCRIPT, NAME].map(str::to_owned);
        main.command.get_or_insert_default().splice(0..0, shell);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::process::{Command, Stdio};

    use rstest::rstest;

    use super::*;

    /// A directory with a `python` that notes how it was called, and an exit handler.
    fn scene(exit_handler: &str) -> tempfile::TempDir {
        let scene = tempfile::tempdir().unwrap();
        let python = scene.path().join("python");
        let text = "#!/bin/sh\n[ \"$1\" = exit_handler.py ] || exit ${CHECK:-0}\n\
                    echo \"$pipelineStatus $OMPIPE_MAIN_EXIT_CODE\" >>reports\n";
        fs::write(&python, text).unwrap();
        let mut mode = fs::metadata(&python).unwrap().permissions();
        std::os::unix::fs::PermissionsExt::set_mode(&mut mode, 0o755);
        fs::set_permissions(&python, mode).unwrap();
        fs::write(scene.path().join("exit_handler.py"), exit_handler).unwrap();
        scene
    }

    fn command(shell: &str, scene: &tempfile::TempDir, worker: &str) -> Command {
        let path = format!("{}:/usr/bin:/bin", scene.path().display());
        let mut words = shell.split(' ');
        let mut command = Command::new(words.next().unwrap());
        command.args(words).args(["-c", SCRIPT, NAME, "sh", "-c", worker]);
        command.current_dir(scene.path()).env("PATH", path).stdout(Stdio::null());
        command
    }

    fn reports(scene: &tempfile::TempDir) -> String {
        fs::read_to_string(scene.path().join("reports")).unwrap_or_default()
    }

    #[rstest]
    #[case::failed("exit 1", "0", 1, "Failed 1\n")]
    #[case::bad_config("exit 1", "78", 2, "Failed 2\n")]
    #[case::check_that_cannot_run("exit 1", "1", 1, "Failed 1\n")]
    #[case::another_code("exit 255", "78", 255, "Failed 255\n")]
    #[case::killed("kill -9 $$", "0", 137, "Failed 137\n")]
    #[case::no_command("/no/such/program", "0", 127, "Failed 127\n")]
    #[case::ended_well("exit 0", "78", 0, "Succeeded 0\n")]
    fn an_end_of_the_workers_own_is_reported_with_its_exit_code(
        #[case] worker: &str,
        #[case] check: &str,
        #[case] code: i32,
        #[case] report: &str,
        #[values("sh", "bash")] shell: &str,
    ) {
        let scene = scene("# OMPIPE_MAIN_EXIT_CODE");
        let status = command(shell, &scene, worker).env("CHECK", check).status().unwrap();
        assert_eq!((status.code(), reports(&scene).as_str()), (Some(code), report));
    }

    /// It may write over what the worker reported.
    #[test]
    fn an_exit_handler_that_knows_no_exit_codes_is_not_called_after_a_success() {
        let scene = scene("# of another make");
        assert!(command("sh", &scene, "exit 0").status().unwrap().success());
        assert_eq!(reports(&scene), "");
        assert_eq!(command("sh", &scene, "exit 3").status().unwrap().code(), Some(3));
        assert_eq!(reports(&scene), "Failed 3\n");
    }

    #[rstest]
    #[case::polite("trap 'exit 5' TERM; : >up; while :; do sleep 0.01; done", 5)]
    #[case::ends_by_the_signal(": >up; exec sleep 60", 143)]
    #[case::ends_well_all_the_same("trap 'exit 0' TERM; : >up; while :; do sleep 0.01; done", 0)]
    fn a_stop_reaches_the_worker_and_is_the_hooks_to_report(
        #[case] worker: &str,
        #[case] code: i32,
        #[values("sh", "bash")] shell: &str,
    ) {
        let scene = scene("# OMPIPE_MAIN_EXIT_CODE");
        let up = scene.path().join("up");
        assert!(Command::new("mkfifo").arg(&up).status().unwrap().success());
        let mut wrapper = command(shell, &scene, worker).spawn().unwrap();
        // A pipe opens for its reader when the worker opens it: then its trap is set.
        fs::read(&up).unwrap();
        let pid = wrapper.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        assert_eq!(wrapper.wait().unwrap().code(), Some(code));
        assert_eq!(reports(&scene), "");
    }
}
