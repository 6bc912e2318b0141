package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-proxier/internal/convert"
	"github.com/ipvs-proxier/ipvs-proxier/proxier"
)

func convertCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "convert {FILE | - | -- FLAG...}",
		Short: "Turn the configuration of kube-proxy or kube-router into ours",
		Long: "Turn the configuration of another proxy into our configuration file, on standard output. FILE is a KubeProxyConfiguration, a\n" +
			"ConfigMap with one, the manifest of the proxy's pods with its flags, or k3s' configuration; FLAG is one of kube-proxy or kube-router.\n" +
			"Standard error says what an operator should know.\n" +
			"The exit status is 1 when a setting that decides about traffic has no counterpart.",
		Example: "  kubectl -n kube-system get configmap kube-proxy -o yaml | ipvs-proxier convert -\n" +
			"  ipvs-proxier convert /var/lib/kube-proxy/config.conf\n" +
			"  ipvs-proxier convert --from=kube-router -- --run-router=false --masquerade-all",
		Args: func(c *cobra.Command, args []string) error {
			if c.ArgsLenAtDash() != 0 && len(args) != 1 {
				return usageError{Err: errors.New("convert takes one FILE, or - for standard input, or -- and flags")}
			}
			return nil
		},
	}
	from := c.Flags().String("from", proxier.KubeProxy, "kube-proxy or kube-router")
	c.RunE = func(c *cobra.Command, args []string) error {
		result, err := converted(c.InOrStdin(), *from, args, c.ArgsLenAtDash() == 0)
		if err != nil {
			return usageError{Err: err}
		}
		text, err := proxier.WriteConfig(result.Config)
		if err != nil {
			return err
		}
		if _, err := c.OutOrStdout().Write(text); err != nil {
			return err
		}
		for _, note := range result.Notes {
			word := "note"
			if note.Lost {
				word = "NOT CARRIED OVER"
			}
			fmt.Fprintf(c.ErrOrStderr(), "%s: %s\n", word, printableLines(note.String()))
		}
		if result.Lost() {
			return errors.New("something that decides about traffic is not carried over, see above")
		}
		return nil
	}
	return c
}

func converted(stdin io.Reader, from string, args []string, flags bool) (*convert.Result, error) {
	if from != proxier.KubeProxy && from != proxier.KubeRouter {
		return nil, fmt.Errorf("--from=%s is unknown; allowed are kube-proxy, kube-router", from)
	}
	if flags {
		return convertedFlags(from, args)
	}
	if args[0] != "-" {
		f, err := os.Open(args[0])
		if err != nil {
			return nil, err
		}
		defer f.Close()
		stdin = f
	}
	data, err := proxier.ReadConfigText(stdin)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", args[0], err)
	}
	result, err := convertedText(data, from)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", args[0], err)
	}
	return result, nil
}

// convertedText converts a configuration, or what stands in the manifest of the proxy's pods as its flags.
func convertedText(data []byte, from string) (*convert.Result, error) {
	if flags, found := convert.Arguments(data, from); found {
		return convertedFlags(from, flags)
	}
	if from == proxier.KubeRouter {
		return nil, errors.New("there is no kube-router in it: want its DaemonSet, or its flags, as in convert --from=kube-router -- --masquerade-all")
	}
	return convert.KubeProxy(data)
}

func convertedFlags(from string, flags []string) (*convert.Result, error) {
	if from == proxier.KubeRouter {
		return convert.KubeRouterFlags(flags)
	}
	return convert.KubeProxyFlags(flags)
}
