package kubeconfig

import (
	"reflect"
	"strings"
	"testing"
)

func TestWhatIsEncodedIsDecoded(t *testing.T) {
	want := Config{"https://127.0.0.1:1", "admin", []byte("authority"), []byte("certificate"), []byte("key")}
	encoded, err := want.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(encoded), "client-key-data: a2V5\n") {
		t.Errorf("the key is not base64:\n%s", encoded)
	}
	got, err := Decode(encoded)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("%+v, %v", got, err)
	}
}

func TestOtherFilesAreRefused(t *testing.T) {
	if _, err := Decode([]byte("clusters: []")); err == nil {
		t.Error("a file without a cluster was accepted")
	}
	if _, err := Read("/no/such/kubeconfig"); err == nil || !strings.Contains(err.Error(), "/no/such/kubeconfig") {
		t.Errorf("%v", err)
	}
}
