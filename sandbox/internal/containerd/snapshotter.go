package containerd

import (
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Snapshotter is how image layers can be joined in dir: by overlayfs where the
// file system below allows it, else by copying. The caller must be in a mount
// namespace of its own.
func Snapshotter(dir string) string {
	if overlayWorks(dir) {
		return "overlayfs"
	}
	return "native"
}

// overlayWorks tries, because no list of file systems is right: overlayfs does
// not stack on itself, and some network file systems lack what it needs.
func overlayWorks(dir string) bool {
	trial, err := os.MkdirTemp(dir, "overlay-trial-")
	if err != nil {
		return false
	}
	defer os.RemoveAll(trial)
	var options []string
	for option, name := range map[string]string{"lowerdir": "l", "upperdir": "u", "workdir": "w"} {
		path := filepath.Join(trial, name)
		if os.Mkdir(path, 0o700) != nil {
			return false
		}
		options = append(options, option+"="+path)
	}
	target := filepath.Join(trial, "merged")
	if os.Mkdir(target, 0o700) != nil {
		return false
	}
	if unix.Mount("overlay", target, "overlay", 0, strings.Join(options, ",")) != nil {
		return false
	}
	_ = unix.Unmount(target, unix.MNT_DETACH)
	return true
}
