package images

import (
	"archive/tar"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Content is one image of an archive.
type Content struct {
	// Name is as the archive has it, FullName as a pod's image is looked up.
	Name, FullName string
	// ID is the digest of the image's configuration, which the kubelet calls
	// the image's id.
	ID digest.Digest
}

// maxDocument bounds what is read as JSON; real manifests have a few KiB.
const maxDocument = 4 << 20

// dockerManifest is the file that `docker save` lists its images in.
const dockerManifest = "manifest.json"

// Inspect lists the images in a docker- or oci-archive. It reads only the
// archive's small files: layers are skipped by seeking.
func Inspect(path string) ([]Content, error) {
	documents, err := readDocuments(path)
	if err != nil {
		return nil, fmt.Errorf("read image archive %s: %w", path, err)
	}
	contents, err := documents.contents()
	if err != nil {
		return nil, fmt.Errorf("image archive %s: %w", path, err)
	}
	return contents, nil
}

// documents are an archive's small files by path.
type documents map[string][]byte

func readDocuments(path string) (documents, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	found := documents{}
	// The reader seeks over what is not read, because a file can.
	reader := tar.NewReader(file)
	for {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return found, nil
		}
		if err != nil {
			return nil, fmt.Errorf("%w (an uncompressed tar is needed: use gunzip or zstd -d on a compressed one)", err)
		}
		if header.Typeflag != tar.TypeReg || header.Size > maxDocument {
			continue
		}
		content, err := io.ReadAll(reader)
		if err != nil {
			return nil, err
		}
		found[strings.TrimPrefix(header.Name, "./")] = content
	}
}

func (d documents) contents() ([]Content, error) {
	if _, isOCI := d[ocispec.ImageLayoutFile]; isOCI {
		return d.ofOCI()
	}
	if _, isDocker := d[dockerManifest]; isDocker {
		return d.ofDocker()
	}
	return nil, errors.New("neither a docker- nor an oci-archive: it has no manifest.json and no oci-layout")
}

func (d documents) ofDocker() ([]Content, error) {
	var images []struct {
		Config   string
		RepoTags []string
	}
	if err := d.decode(dockerManifest, &images); err != nil {
		return nil, err
	}
	var contents []Content
	for _, image := range images {
		config, found := d[image.Config]
		if !found {
			return nil, fmt.Errorf("%s is missing", image.Config)
		}
		named, err := name(image.RepoTags, digest.FromBytes(config))
		if err != nil {
			return nil, err
		}
		contents = append(contents, named...)
	}
	return contents, nil
}

func (d documents) ofOCI() ([]Content, error) {
	var index ocispec.Index
	if err := d.decode(ocispec.ImageIndexFile, &index); err != nil {
		return nil, err
	}
	var contents []Content
	for _, image := range index.Manifests {
		id, err := d.configOf(image)
		if err != nil {
			return nil, err
		}
		named, err := name([]string{ociName(image.Annotations)}, id)
		if err != nil {
			return nil, err
		}
		contents = append(contents, named...)
	}
	return contents, nil
}

// ociName prefers containerd's annotation because containerd does.
func ociName(annotations map[string]string) string {
	if full := annotations[NameAnnotation]; full != "" {
		return full
	}
	return annotations[ocispec.AnnotationRefName]
}

// configOf follows an index to the manifest of this machine's platform.
func (d documents) configOf(image ocispec.Descriptor) (digest.Digest, error) {
	if isIndex(image.MediaType) {
		return d.configOfIndex(image)
	}
	var manifest ocispec.Manifest
	if err := d.decode(blobPath(image.Digest), &manifest); err != nil {
		return "", err
	}
	return manifest.Config.Digest, nil
}

func isIndex(mediaType string) bool {
	return mediaType == ocispec.MediaTypeImageIndex || mediaType == "application/vnd.docker.distribution.manifest.list.v2+json"
}

func (d documents) configOfIndex(image ocispec.Descriptor) (digest.Digest, error) {
	var index ocispec.Index
	if err := d.decode(blobPath(image.Digest), &index); err != nil {
		return "", err
	}
	for _, one := range index.Manifests {
		if isOurs(one.Platform) {
			return d.configOf(one)
		}
	}
	return "", fmt.Errorf("no image for linux/%s", architecture)
}

func (d documents) decode(path string, into any) error {
	content, found := d[path]
	if !found {
		return fmt.Errorf("%s is missing", path)
	}
	if err := json.Unmarshal(content, into); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// name resolves short names as a pod's image is resolved.
func name(names []string, id digest.Digest) ([]Content, error) {
	var contents []Content
	for _, one := range names {
		if !strings.ContainsAny(one, "/:") {
			return nil, fmt.Errorf("an image has no name, only the tag %q: "+
				"write the archive with one (oci-archive:FILE:NAME:TAG, or docker save NAME:TAG)", one)
		}
		full, err := reference.ParseDockerRef(one)
		if err != nil {
			return nil, fmt.Errorf("image name %q: %w", one, err)
		}
		contents = append(contents, Content{Name: one, FullName: full.String(), ID: id})
	}
	return contents, nil
}
