package images

import (
	"runtime"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

const architecture = runtime.GOARCH

func isOurs(platform *ocispec.Platform) bool {
	return platform != nil && platform.OS == "linux" && platform.Architecture == architecture
}
