package images

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func archiveOf(t *testing.T, image Image) []byte {
	t.Helper()
	archive, err := image.Archive()
	if err != nil {
		t.Fatal(err)
	}
	return archive
}

func save(t *testing.T, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "image.tar")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

var builtin = Builtin([]byte("static program"), []string{"sh", "busybox", "ls"})

func TestAnArchiveIsReproducibleAndItsDigestsHold(t *testing.T) {
	for _, image := range builtin {
		archive := archiveOf(t, image)
		if !bytes.Equal(archive, archiveOf(t, image)) {
			t.Errorf("%s: two archives differ", image.Name)
		}
		checkDigests(t, archive)
		contents, err := Inspect(save(t, archive))
		if err != nil || len(contents) != 1 || contents[0].FullName != image.Name {
			t.Errorf("%s: %+v, %v", image.Name, contents, err)
		}
	}
}

func checkDigests(t *testing.T, archive []byte) {
	t.Helper()
	blobs := 0
	for reader := tar.NewReader(bytes.NewReader(archive)); ; {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		sum, isBlob := strings.CutPrefix(header.Name, "blobs/sha256/")
		if !isBlob {
			continue
		}
		blobs++
		content, _ := io.ReadAll(reader)
		if digest.FromBytes(content).Encoded() != sum {
			t.Errorf("%s holds something else", header.Name)
		}
	}
	if blobs != 3 {
		t.Errorf("%d blobs, want layer, configuration and manifest", blobs)
	}
}

func TestBusyboxLinksAppletsButNotItself(t *testing.T) {
	links := map[string]string{}
	for _, file := range builtin[1].Files {
		if file.LinkTo != "" {
			links[file.Path] = file.LinkTo
		}
	}
	if len(links) != 2 || links["bin/sh"] != "busybox" || links["bin/ls"] != "busybox" {
		t.Fatalf("links %v", links)
	}
}

func TestDockerArchive(t *testing.T) {
	config := []byte(`{"os":"linux"}`)
	archive, err := writeTar([]File{
		{Path: "layer.tar", Content: make([]byte, 100), Mode: 0o644},
		{Path: "abc.json", Content: config, Mode: 0o644},
		{Path: "manifest.json", Mode: 0o644, Content: []byte(
			`[{"Config":"abc.json","RepoTags":["app:1","localhost/app:2"],"Layers":["layer.tar"]}]`)},
	})
	if err != nil {
		t.Fatal(err)
	}
	got, err := Inspect(save(t, archive))
	id := digest.FromBytes(config)
	want := []Content{{"app:1", "docker.io/library/app:1", id}, {"localhost/app:2", "localhost/app:2", id}}
	if err != nil || len(got) != 2 || got[0] != want[0] || got[1] != want[1] {
		t.Fatalf("%+v, %v", got, err)
	}
}

func TestMultiPlatformArchiveGivesThisMachinesImage(t *testing.T) {
	var all blobs
	add := func(mediaType string, value any) ocispec.Descriptor {
		descriptor, err := all.addJSON(mediaType, value)
		if err != nil {
			t.Fatal(err)
		}
		return descriptor
	}
	var manifests []ocispec.Descriptor
	var want digest.Digest
	for _, arch := range []string{"other", architecture} {
		config := add(ocispec.MediaTypeImageConfig, map[string]string{"architecture": arch})
		manifest := add(ocispec.MediaTypeImageManifest, ocispec.Manifest{Config: config})
		manifest.Platform = &ocispec.Platform{OS: "linux", Architecture: arch}
		manifests, want = append(manifests, manifest), config.Digest
	}
	index := add(ocispec.MediaTypeImageIndex, ocispec.Index{Manifests: manifests})
	index.Annotations = map[string]string{ocispec.AnnotationRefName: "example.org/app:3"}
	archive, err := all.archive(index)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Inspect(save(t, archive))
	if err != nil || len(got) != 1 || got[0].ID != want || got[0].FullName != "example.org/app:3" {
		t.Fatalf("%+v, %v; want %s", got, err, want)
	}
}

func TestUnusableArchivesSayWhy(t *testing.T) {
	nameless := builtin[0]
	nameless.Name = "latest"
	empty, _ := writeTar([]File{{Path: "hello", Content: []byte("x"), Mode: 0o644}})
	manifest, _ := json.Marshal([]map[string]any{{"Config": "gone.json", "RepoTags": []string{"a:1"}}})
	broken, _ := writeTar([]File{{Path: "manifest.json", Content: manifest, Mode: 0o644}})
	for want, content := range map[string][]byte{
		"only the tag":          archiveOf(t, nameless),
		"neither a docker- nor": empty,
		"gone.json is missing":  broken,
		"uncompressed":          []byte("\x1f\x8b" + strings.Repeat("x", 600)),
	} {
		if _, err := Inspect(save(t, content)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if _, err := Inspect("/no/such.tar"); err == nil || !strings.Contains(err.Error(), "/no/such.tar") {
		t.Errorf("a missing file: %v", err)
	}
}
