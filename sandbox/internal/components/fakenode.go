package components

import "fmt"

// The annotation by which kwok knows the nodes that it fakes.
const (
	FakeNodeAnnotation = "kwok.x-k8s.io/node"
	FakeNodeValue      = "fake"
)

// FakeNode is the i-th fake node as a Kubernetes object. The taint keeps pods
// that mean to run from being scheduled where nothing runs.
func FakeNode(i int) map[string]any {
	name := fmt.Sprintf("fake-%d", i)
	return map[string]any{
		"apiVersion": "v1",
		"kind":       "Node",
		"metadata": map[string]any{
			"name":        name,
			"annotations": map[string]any{FakeNodeAnnotation: FakeNodeValue},
			"labels": map[string]any{
				"type":                   "kwok",
				"kubernetes.io/hostname": name,
				"kubernetes.io/os":       "linux",
				"kubernetes.io/arch":     "amd64",
			},
		},
		"spec": map[string]any{"taints": []any{map[string]any{
			"key": FakeNodeAnnotation, "value": FakeNodeValue, "effect": "NoSchedule",
		}}},
		"status": map[string]any{
			"capacity":    fakeResources(),
			"allocatable": fakeResources(),
		},
	}
}

func fakeResources() map[string]any {
	return map[string]any{"cpu": "32", "memory": "256Gi", "pods": "110"}
}
