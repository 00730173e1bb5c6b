// Package kubeconfig reads and writes the configuration files of Kubernetes
// clients.
package kubeconfig

import (
	"fmt"
	"os"

	"sigs.k8s.io/yaml"
)

// Config is one cluster and one user's way in, with everything embedded so
// that the file works wherever it is copied.
type Config struct {
	Server    string
	User      string
	Authority []byte
	// Certificate and Key are the user's, PEM.
	Certificate []byte
	Key         []byte
}

// The file format, as far as it is used here. []byte fields are base64 in the
// file, as the format wants.
type file struct {
	APIVersion     string         `json:"apiVersion"`
	Kind           string         `json:"kind"`
	Clusters       []namedCluster `json:"clusters"`
	Users          []namedUser    `json:"users"`
	Contexts       []namedContext `json:"contexts"`
	CurrentContext string         `json:"current-context"`
}

type namedCluster struct {
	Name    string  `json:"name"`
	Cluster cluster `json:"cluster"`
}

type cluster struct {
	Server    string `json:"server"`
	Authority []byte `json:"certificate-authority-data"`
}

type namedUser struct {
	Name string `json:"name"`
	User user   `json:"user"`
}

type user struct {
	Certificate []byte `json:"client-certificate-data"`
	Key         []byte `json:"client-key-data"`
}

type namedContext struct {
	Name    string  `json:"name"`
	Context context `json:"context"`
}

type context struct {
	Cluster string `json:"cluster"`
	User    string `json:"user"`
}

const clusterName = "ompipe-sandbox"

// Encode returns the file's content.
func (c Config) Encode() ([]byte, error) {
	encoded, err := yaml.Marshal(file{
		APIVersion:     "v1",
		Kind:           "Config",
		Clusters:       []namedCluster{{clusterName, cluster{c.Server, c.Authority}}},
		Users:          []namedUser{{c.User, user{c.Certificate, c.Key}}},
		Contexts:       []namedContext{{clusterName, context{clusterName, c.User}}},
		CurrentContext: clusterName,
	})
	if err != nil {
		return nil, fmt.Errorf("write the kubeconfig of %s: %w", c.User, err)
	}
	return encoded, nil
}

// Decode reads a file that Encode wrote.
func Decode(content []byte) (Config, error) {
	var parsed file
	if err := yaml.Unmarshal(content, &parsed); err != nil {
		return Config{}, err
	}
	if len(parsed.Clusters) != 1 || len(parsed.Users) != 1 {
		return Config{}, fmt.Errorf("%d clusters and %d users, want one of each", len(parsed.Clusters), len(parsed.Users))
	}
	return Config{
		Server:      parsed.Clusters[0].Cluster.Server,
		Authority:   parsed.Clusters[0].Cluster.Authority,
		User:        parsed.Users[0].Name,
		Certificate: parsed.Users[0].User.Certificate,
		Key:         parsed.Users[0].User.Key,
	}, nil
}

// Read decodes the file at path.
func Read(path string) (Config, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return Config{}, fmt.Errorf("read a kubeconfig: %w", err)
	}
	config, err := Decode(content)
	if err != nil {
		return Config{}, fmt.Errorf("read kubeconfig %s: %w", path, err)
	}
	return config, nil
}
