package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/ipvs-proxier/ipvs-proxier/internal/wronguse"
	"github.com/ipvs-proxier/ipvs-proxier/proxier"
)

func explainCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "explain --from CLIENT --to ADDRESS:PORT",
		Short: "Say what becomes of a packet to a Service on this node, and why",
		Long: "Follow the first packet of a connection through this node's kernel as it is now: source ranges, policies, masquerading with the rule\n" +
			"that decides, the virtual server, its candidates and why each of them is or is not one, and what the client sees.\n\n" +
			"It reads the kernel (as root), writes nothing, and needs neither the API server nor a running proxier. Rules of other programs are not\n" +
			"followed, but for a DNAT that takes the packet away before IPVS. With --bundle it reads the kernel of a bundle, anywhere.",
		Example: "  ipvs-proxier explain --from 10.244.1.7 --to 10.96.0.10:53 --protocol udp\n" +
			"  ipvs-proxier explain --from node --to 10.96.0.10:53\n" +
			"  ipvs-proxier explain --from 203.0.113.9:40000 --to 192.168.1.10:30080 -o json",
	}
	config := proxier.Default()
	var q proxier.Question
	var output, file string
	bundleFlag(c, &file)
	c.Flags().StringVar(&q.From, "from", "",
		"the client: ADDRESS, ADDRESS:PORT, node for a process of this node, or node=ADDRESS for one that has bound an address")
	c.Flags().StringVar(&q.To, "to", "", "ADDRESS:PORT of a Service")
	c.Flags().StringVar(&q.Protocol, "protocol", "tcp", "tcp, udp or sctp")
	c.Flags().StringVar(&q.Interface, "interface", "",
		"the link by which the packet comes in; it matters with --detect-local-mode only")
	c.Flags().StringVar(&config.Link, "link", config.Link, "name of the dummy link")
	c.Flags().StringVar(&config.Iptables, "iptables", config.Iptables,
		"variant of iptables that our chains are in: auto, nft or legacy")
	c.Flags().StringVarP(&output, "output", "o", "table", "table or json")
	c.Args = func(c *cobra.Command, args []string) error {
		if err := wronguse.NoArgs(c, args); err != nil {
			return err
		}
		if err := tableOrJSON(output); err != nil {
			return err
		}
		if err := proxier.CheckQuestion(q); err != nil {
			return usageError{Err: err}
		}
		if file != "" {
			return beside(c, "link", "iptables")
		}
		return nil
	}
	c.RunE = func(c *cobra.Command, _ []string) error {
		said, err := explained(c.Context(), config, q, file)
		if err != nil {
			return err
		}
		if output == "json" {
			return printJSON(c.OutOrStdout(), said)
		}
		return explanationTable(c.OutOrStdout(), q, said)
	}
	return c
}

// explained asks this node's kernel, or the archive of a bundle.
func explained(
	ctx context.Context, config proxier.Config, q proxier.Question, file string,
) (proxier.Explanation, error) {
	if file == "" {
		return proxier.Explain(ctx, config, q)
	}
	b, err := proxier.OpenBundle(file)
	if err != nil {
		return proxier.Explanation{}, fmt.Errorf("--bundle: %w", err)
	}
	said, err := b.Explain(q)
	if err != nil {
		return said, fmt.Errorf("--bundle: %w", err)
	}
	return said, nil
}

// explanationTable prints the steps, the candidates and what the client sees. Rules may hold words of others.
func explanationTable(w io.Writer, q proxier.Question, said proxier.Explanation) error {
	printable := proxier.Printable
	fmt.Fprintf(w, "%s from %s to %s\n\n", strings.ToLower(q.Protocol), q.From, q.To)
	for _, step := range said.Steps {
		fmt.Fprintf(w, "%-15s %s\n", step.Hook, printable(step.Text))
		if step.Rule != "" {
			fmt.Fprintf(w, "%-15s   rule: %s\n", "", printable(step.Rule))
		}
	}
	if len(said.Candidates) > 0 {
		fmt.Fprintln(w)
		t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
		fmt.Fprintln(t, "CANDIDATE\tWEIGHT\tSEES\tNEW CONNECTIONS")
		for _, c := range said.Candidates {
			sees, takes := "the client", "yes"
			if c.Masquerade {
				sees = "the node"
			}
			switch {
			case c.Excluded != "":
				sees, takes = "-", "no: "+c.Excluded
			case c.Chosen:
				takes = "yes: this packet goes there"
			}
			fmt.Fprintf(t, "%s\t%d\t%s\t%s\n", c.Address, c.Weight, sees, takes)
		}
		if err := t.Flush(); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(w, "\nThe client sees: %s.\n", printable(said.Client))
	return err
}
