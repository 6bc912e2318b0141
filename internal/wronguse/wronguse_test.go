package wronguse_test

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/ipvs-proxier/ipvs-proxier/internal/wronguse"
)

// TestNearestWordsAreNamed: what is near to a command or flag is named, and else where they are listed.
func TestNearestWordsAreNamed(t *testing.T) {
	root := &cobra.Command{Use: "program"}
	sub := &cobra.Command{Use: "run", RunE: func(*cobra.Command, []string) error { return nil }}
	sub.Flags().String("mode", "", "")
	sub.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return wronguse.Flag(c, err, func(name string) string {
			return map[string]string{"somebody-elses": "it is somebody else's"}[name]
		})
	})
	root.AddCommand(sub, &cobra.Command{Use: "serve"})
	for word, want := range map[string]string{"runn": "did you mean run?", "elephant": "allowed are run, serve"} {
		if got := wronguse.Command(root, []string{word}).Error(); !strings.Contains(got, want) {
			t.Errorf("%s: %s; want %s", word, got, want)
		}
	}
	root.SilenceErrors, root.SilenceUsage = true, true
	for flag, want := range map[string]string{
		"--mod=crr": "did you mean --mode?", "--elephant": "see program run --help",
		"--somebody-elses": "it is somebody else's",
	} {
		root.SetArgs([]string{"run", flag})
		if err := root.Execute(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %s", flag, err, want)
		}
	}
}
