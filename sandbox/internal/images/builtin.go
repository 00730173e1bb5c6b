package images

// Images that every sandbox has.
const (
	// Pause holds a pod's namespaces; it does nothing.
	Pause = "sandbox.local/pause:1"
	// Busybox is a shell with the usual small tools.
	Busybox = "sandbox.local/busybox:1"
)

// Builtin makes the sandbox's own images from a static busybox and the names
// of its applets.
func Builtin(busybox []byte, applets []string) []Image {
	return []Image{
		{
			Name:  Pause,
			Files: []File{directory("bin", 0o755), program("bin/sleep", busybox)},
			// As process 1 it ignores every signal but SIGKILL, which is what
			// containerd ends a pod's sandbox with.
			Command: []string{"/bin/sleep", "2147483647"},
		},
		{
			Name:    Busybox,
			Files:   busyboxFiles(busybox, applets),
			Command: []string{"/bin/sh"},
		},
	}
}

func busyboxFiles(busybox []byte, applets []string) []File {
	files := []File{
		directory("bin", 0o755), directory("etc", 0o755), directory("tmp", 0o1777),
		program("bin/busybox", busybox),
		text("etc/passwd", "root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n"),
		text("etc/group", "root:x:0:\nnogroup:x:65534:\n"),
	}
	for _, applet := range applets {
		if applet != "busybox" {
			files = append(files, File{Path: "bin/" + applet, LinkTo: "busybox", Mode: 0o777})
		}
	}
	return files
}

func directory(path string, mode int64) File {
	return File{Path: path, Directory: true, Mode: mode}
}

func program(path string, content []byte) File {
	return File{Path: path, Content: content, Mode: 0o755}
}

func text(path, content string) File {
	return File{Path: path, Content: []byte(content), Mode: 0o644}
}
