// Package images makes and reads container image archives.
package images

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"fmt"
	"runtime"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// NameAnnotation is where containerd looks for an image's full name.
const NameAnnotation = "io.containerd.image.name"

// File is one entry of an image's only layer.
type File struct {
	Path    string
	Content []byte
	// LinkTo makes the entry a symbolic link.
	LinkTo string
	// Directory makes the entry a directory.
	Directory bool
	Mode      int64
}

// Image is what an image made here consists of.
type Image struct {
	Name    string
	Files   []File
	Command []string
}

// Archive is an image as an OCI archive. The same image gives the same bytes,
// so that its digest tells whether it was loaded already.
func (i Image) Archive() ([]byte, error) {
	layer, err := writeTar(i.Files)
	if err != nil {
		return nil, err
	}
	blobs := blobs{}
	layerAt := blobs.add(ocispec.MediaTypeImageLayer, layer)
	configAt, err := blobs.addJSON(ocispec.MediaTypeImageConfig, i.config(layerAt.Digest))
	if err != nil {
		return nil, err
	}
	manifestAt, err := blobs.addJSON(ocispec.MediaTypeImageManifest, ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		Config: configAt, Layers: []ocispec.Descriptor{layerAt},
	})
	if err != nil {
		return nil, err
	}
	manifestAt.Annotations = map[string]string{NameAnnotation: i.Name}
	return blobs.archive(manifestAt)
}

// config has no creation time: it would change the digest.
func (i Image) config(layer digest.Digest) ocispec.Image {
	return ocispec.Image{
		Platform: ocispec.Platform{Architecture: runtime.GOARCH, OS: "linux"},
		Config:   ocispec.ImageConfig{Cmd: i.Command, Env: []string{"PATH=/bin"}},
		RootFS:   ocispec.RootFS{Type: "layers", DiffIDs: []digest.Digest{layer}},
	}
}

// blobs are an archive's files below blobs/, in the order they were added.
type blobs []File

func (b *blobs) add(mediaType string, content []byte) ocispec.Descriptor {
	sum := digest.FromBytes(content)
	*b = append(*b, File{Path: blobPath(sum), Content: content, Mode: 0o644})
	return ocispec.Descriptor{MediaType: mediaType, Digest: sum, Size: int64(len(content))}
}

func (b *blobs) addJSON(mediaType string, value any) (ocispec.Descriptor, error) {
	content, err := json.Marshal(value)
	if err != nil {
		return ocispec.Descriptor{}, fmt.Errorf("write %s: %w", mediaType, err)
	}
	return b.add(mediaType, content), nil
}

func (b *blobs) archive(manifest ocispec.Descriptor) ([]byte, error) {
	index, err := json.Marshal(ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex,
		Manifests: []ocispec.Descriptor{manifest},
	})
	if err != nil {
		return nil, fmt.Errorf("write the index: %w", err)
	}
	version := []byte(`{"imageLayoutVersion":"` + ocispec.ImageLayoutVersion + `"}`)
	return writeTar(append([]File{
		{Path: ocispec.ImageLayoutFile, Content: version, Mode: 0o644},
		{Path: ocispec.ImageIndexFile, Content: index, Mode: 0o644},
	}, *b...))
}

func blobPath(sum digest.Digest) string {
	return ocispec.ImageBlobsDir + "/" + sum.Algorithm().String() + "/" + sum.Encoded()
}

func writeTar(files []File) ([]byte, error) {
	var buffer bytes.Buffer
	writer := tar.NewWriter(&buffer)
	for _, file := range files {
		if err := writer.WriteHeader(file.header()); err != nil {
			return nil, fmt.Errorf("write %s: %w", file.Path, err)
		}
		if _, err := writer.Write(file.Content); err != nil {
			return nil, fmt.Errorf("write %s: %w", file.Path, err)
		}
	}
	if err := writer.Close(); err != nil {
		return nil, fmt.Errorf("finish an archive: %w", err)
	}
	return buffer.Bytes(), nil
}

func (f File) header() *tar.Header {
	header := &tar.Header{Name: f.Path, Mode: f.Mode, Size: int64(len(f.Content)), Typeflag: tar.TypeReg}
	if f.LinkTo != "" {
		header.Typeflag, header.Linkname = tar.TypeSymlink, f.LinkTo
	}
	if f.Directory {
		header.Typeflag = tar.TypeDir
	}
	return header
}
