package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ipvs-proxier/ipvs-proxier/proxier"
)

func checkCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "check {FILE | DIRECTORY | - | KEY=VALUE} ...",
		Short: "Report what would be rejected or not supported of Services and annotations, without a cluster",
		Long: "Read the Services, EndpointSlices and Nodes of files, and report what the proxier would reject or not support in them: annotations,\n" +
			"aliases, fields, and what run --manifests would refuse. Of a directory the files .yaml, .yml and .json count; - is standard input.\n\n" +
			"Or check annotations alone: KEY=VALUE, node/weight=3, endpointslice/weight=3. They are printed as the proxier reads them.\n\n" +
			"No cluster and no kernel are needed. The exit status is 1 when there is a problem.\n\n" +
			"check node looks at this node instead; a directory that is called node is ./node.",
		Example: "  ipvs-proxier check web.yaml\n" +
			"  kubectl get services -A -o yaml | ipvs-proxier check -\n" +
			"  ipvs-proxier check scheduler=http=maglev,*=wlc slow-start=30s node/weight=3",
		ValidArgsFunction: func(_ *cobra.Command, _ []string, toComplete string) ([]string, cobra.ShellCompDirective) {
			return proxier.CompleteAnnotation(toComplete), cobra.ShellCompDirectiveNoSpace
		},
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usageError{Err: errors.New("check takes files, directories, - for standard input, or KEY=VALUE")}
			}
			return nil
		},
	}
	config := c.Flags().String("config", "", "configuration file, whose defaults apply where a Service chooses nothing")
	settings := c.Flags().Bool("settings", false, "print for each port what would be in force, and who chose it")
	output := c.Flags().StringP("output", "o", "table", "table or json")
	c.RunE = func(c *cobra.Command, args []string) error {
		base := proxier.Default()
		if *config != "" {
			var err error
			if base, err = proxier.ReadConfig(*config, base); err != nil {
				return usageError{Err: err}
			}
		}
		if err := tableOrJSON(*output); err != nil {
			return err
		}
		return check(c.InOrStdin(), c.OutOrStdout(), base, args, *settings, *output == "json")
	}
	c.AddCommand(checkNodeCommand())
	return c
}

func check(stdin io.Reader, w io.Writer, config proxier.Config, args []string, settings, asJSON bool) error {
	checker, wrong, said := proxier.NewChecker(config), 0, []proxier.Checked{}
	for _, arg := range args {
		if _, err := os.Stat(arg); arg != "-" && err != nil && strings.Contains(arg, "=") {
			checked := checkedAnnotation(arg)
			if said = append(said, checked); !asJSON {
				printAnnotation(w, checked)
			}
			wrong += len(checked.Problems)
			continue
		}
		if err := readInto(checker, stdin, arg); err != nil {
			return usageError{Err: err}
		}
	}
	objects := checker.Result()
	for _, o := range objects {
		wrong += len(o.Problems)
	}
	switch {
	case asJSON:
		if err := printJSON(w, append(said, objects...)); err != nil {
			return err
		}
	default:
		printChecked(w, objects, settings)
		if len(said) == 0 || len(objects) > 0 {
			fmt.Fprintf(w, "%s: %s\n", count(len(objects), "object"), count(wrong, "problem"))
		}
	}
	if wrong > 0 {
		return fmt.Errorf("%s, see above", count(wrong, "problem"))
	}
	return nil
}

// count returns "1 object" or "2 objects".
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

func printChecked(w io.Writer, objects []proxier.Checked, settings bool) {
	for _, o := range objects {
		for _, p := range o.Problems {
			fmt.Fprintf(w, "%s: %s: %s: %s: %s\n", proxier.Printable(o.File), proxier.Printable(o.Object), p.Reason,
				proxier.Printable(p.Field), proxier.Printable(p.Message))
		}
		if !settings {
			continue
		}
		for _, port := range slices.Sorted(maps.Keys(o.Settings)) {
			for _, s := range o.Settings[port] {
				value := s.Value
				if value == "" {
					value = whenUnset[s.Key]
				}
				fmt.Fprintf(w, "%s: port %s: %s %s (%s)\n", proxier.Printable(o.Object), proxier.Printable(portLabel(port)), s.Key,
					proxier.Printable(value), s.Source)
			}
		}
	}
}

// whenUnset says what is in force where a setting has no value.
var whenUnset = map[string]string{"weight": "1", "expose": "all", "slow-start": "off", "max-connections": "no limit"}

func portLabel(port string) string {
	if port == "" {
		return "*"
	}
	return port
}

// readInto reads a file, the files of a directory, or standard input.
func readInto(checker *proxier.Checker, stdin io.Reader, path string) error {
	if path == "-" {
		return checker.Read("standard input", stdin)
	}
	found := false
	err := filepath.WalkDir(path, func(file string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		if file != path {
			if !slices.Contains([]string{".yaml", ".yml", ".json"}, filepath.Ext(file)) {
				return nil
			}
			found = true
			return checker.ReadFile(file)
		}
		found = true
		// What is named itself may be a pipe, as the shell's <(...) is.
		f, err := os.Open(file)
		if err != nil {
			return err
		}
		defer f.Close()
		return checker.Read(file, f)
	})
	if err == nil && !found {
		err = fmt.Errorf("%s: a directory without a file .yaml, .yml or .json", proxier.Printable(path))
	}
	return err
}
