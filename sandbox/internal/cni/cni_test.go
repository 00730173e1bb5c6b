package cni

import (
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
)

func TestPodsGetAddressesOfTheirOwnSubnet(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cni")
	if err := Write(dir, netip.MustParsePrefix("10.201.0.0/17")); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.conflist"))
	if err != nil || len(files) != 1 {
		t.Fatalf("%v, %v: want one file", files, err)
	}
	written, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	var got list
	if err := json.Unmarshal(written, &got); err != nil {
		t.Fatal(err)
	}
	if subnet := got.Plugins[0].Addresses.Ranges[0][0].Subnet.String(); subnet != "10.201.0.0/17" {
		t.Errorf("subnet %s", subnet)
	}
	if got.Plugins[0].Type != "bridge" || got.Plugins[1].Type != "portmap" {
		t.Errorf("plugins %+v", got.Plugins)
	}
}
