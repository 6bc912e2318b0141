// Command ipvs-load measures Service proxies at layer 4. It sends requests at a rate that does not depend on how fast
// they are answered. It says how long they took, who answered them and what went wrong.
//
// This folder has a file for each subcommand. Below internal are three parts. No package imports one that
// stands further down.
//
//	load         what is sent, and the books of it
//	  target       addresses on the command line
//	  wire         the conversation of client and server
//	  server       ipvs-load serve
//	  schedule     when each request starts
//	  account      what became of every request
//	  stats        the statistics by which all others judge
//	  engine       sends the requests of a run
//	reading      what comes of a run
//	  report       books as text and JSON, with an exit status
//	  html         reports as one page
//	  compare      whether one set of runs is slower than another
//	what is asked of runs, and of a proxy
//	  spec         what a user asks of a run: fields, defaults, the way to the engine
//	  churn        what happens while load runs
//	  scenario     files of loads and events, in variants and rounds
//	  replay       what a proxy wrote to the kernel, once more and without it
//	  control      what a proxy costs its node
//	  probe        from when on a change can be seen
package main
