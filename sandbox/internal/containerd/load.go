package containerd

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"

	"github.com/ompipe/ompipe/sandbox/internal/cri"
	"github.com/ompipe/ompipe/sandbox/internal/images"
)

// Store is the image store of a running containerd.
type Store struct {
	Socket string
	Client *cri.Client
}

// Progress is told how many bytes of how many were read.
type Progress func(read, total int64)

// Loaded is the outcome for one image.
type Loaded struct {
	Name string
	// Already is true when nothing had to be done.
	Already bool
}

// Load imports the images of an archive, unless every one of them is there
// with the same content.
func (s Store) Load(ctx context.Context, archive string, progress Progress) ([]Loaded, error) {
	contents, err := images.Inspect(archive)
	if err != nil {
		return nil, err
	}
	present, err := s.present(ctx, contents)
	if err != nil {
		return nil, err
	}
	if !present {
		if err := s.importArchive(ctx, archive, progress); err != nil {
			return nil, err
		}
		if err := s.nameFully(ctx, contents); err != nil {
			return nil, err
		}
	}
	var loaded []Loaded
	for _, content := range contents {
		loaded = append(loaded, Loaded{Name: content.FullName, Already: present})
	}
	return loaded, nil
}

func (s Store) present(ctx context.Context, contents []images.Content) (bool, error) {
	for _, content := range contents {
		id, err := s.Client.ImageID(ctx, content.FullName)
		if err != nil || id != content.ID.String() {
			return false, err
		}
	}
	return true, nil
}

func (s Store) importArchive(ctx context.Context, archive string, progress Progress) error {
	file, err := os.Open(archive)
	if err != nil {
		return fmt.Errorf("open image archive: %w", err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	counted := &countingReader{from: file, total: info.Size(), progress: progress}
	if err := s.ctr(ctx, counted, "images", "import", "-"); err != nil {
		return fmt.Errorf("import %s: %w", archive, err)
	}
	return nil
}

// nameFully adds the name under which a pod finds an image whose archive has a
// short one, and checks that the kubelet will find it.
func (s Store) nameFully(ctx context.Context, contents []images.Content) error {
	for _, content := range contents {
		if content.Name != content.FullName {
			if err := s.ctr(ctx, nil, "images", "tag", "--force", content.Name, content.FullName); err != nil &&
				!alreadyNamed(ctx, s, content) {
				return fmt.Errorf("name image %s: %w", content.FullName, err)
			}
		}
		if id, err := s.Client.ImageID(ctx, content.FullName); err != nil || id == "" {
			return fmt.Errorf("image %s was imported but cannot be found (%v)", content.FullName, err)
		}
	}
	return nil
}

// alreadyNamed is the case for docker archives, whose names containerd
// completes itself.
func alreadyNamed(ctx context.Context, s Store, content images.Content) bool {
	id, err := s.Client.ImageID(ctx, content.FullName)
	return err == nil && id == content.ID.String()
}

// ctr runs containerd's own client in the namespace that the kubelet uses.
func (s Store) ctr(ctx context.Context, input io.Reader, arguments ...string) error {
	command := exec.CommandContext(ctx, "ctr", append([]string{"--address", s.Socket, "--namespace", "k8s.io"}, arguments...)...)
	command.Stdin = input
	var output bytes.Buffer
	command.Stdout, command.Stderr = &output, &output
	if err := command.Run(); err != nil {
		return fmt.Errorf("ctr %s: %w: %s", strings.Join(arguments, " "), err, strings.TrimSpace(output.String()))
	}
	return nil
}

type countingReader struct {
	from        io.Reader
	read, total int64
	progress    Progress
}

// Read implements io.Reader.
func (r *countingReader) Read(buffer []byte) (int, error) {
	n, err := r.from.Read(buffer)
	r.read += int64(n)
	r.progress(r.read, r.total)
	return n, err
}
