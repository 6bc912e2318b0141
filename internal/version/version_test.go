package version

import (
	"encoding/json"
	"runtime"
	"strings"
	"testing"
)

func TestPrint(t *testing.T) {
	var out strings.Builder
	if err := Of("v1.2.3").Print(&out, "text"); err != nil || out.String() != "v1.2.3\n" {
		t.Errorf("got %q, %v", out.String(), err)
	}
	out.Reset()
	if err := Of("v1.2.3").Print(&out, "json"); err != nil {
		t.Fatal(err)
	}
	var got map[string]string
	if err := json.Unmarshal([]byte(out.String()), &got); err != nil || got["version"] != "v1.2.3" ||
		got["goVersion"] != runtime.Version() || !strings.Contains(got["platform"], "/") {
		t.Errorf("got %v, %v", got, err)
	}
	if err := Of("v1").Print(&out, "jsn"); err == nil || !strings.Contains(err.Error(), "text, json") {
		t.Errorf("want an error that lists the formats, got %v", err)
	}
}
