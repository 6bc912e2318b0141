package engine

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/account"
	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/schedule"
	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/server"
	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/target"
)

// The benchmarks compare the engine with a loop that only connects, sends, reads and closes, with nothing measured:
//
//	go test -run '^$' -bench 'BareLoop|Engine' -benchtime 20000x -count 5 ./cmd/ipvs-load/internal/engine
//
// Both have one processor's worth of Go (GOMAXPROCS 1) and the same server in a process of its own. req/s is what came
// through; req/cpu-s is requests per second of the client's own processor time, which other load on the machine
// disturbs less.

const (
	serverEnvironment = "IPVS_LOAD_BENCH_SERVER"
	benchParallel     = 64
	benchAddresses    = 8 // more destinations, so that ports in TIME_WAIT do not run out
)

// TestMain turns the test's binary into the benchmarks' server when it is asked to.
func TestMain(m *testing.M) {
	if os.Getenv(serverEnvironment) == "" {
		os.Exit(m.Run())
	}
	c := server.Config{ID: "bench"}
	for i := range benchAddresses {
		l, _ := target.ParseListen(fmt.Sprintf("tcp://127.0.0.%d:0", i+1))
		c.Listen = append(c.Listen, l)
	}
	s, err := server.New(c)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(strings.Join(s.Addresses(), " "))
	ended := make(chan struct{})
	go func() { _, _ = os.Stdin.Read(make([]byte, 1)); close(ended) }() // ends with its parent
	go func() { _ = s.Serve(context.Background()) }()
	<-ended
	os.Exit(0)
}

func benchServer(b *testing.B) []target.Target {
	b.Helper()
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), serverEnvironment+"=1")
	c.Stderr = os.Stderr
	in, err := c.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := c.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { in.Close(); _ = c.Wait() })
	line := make([]byte, 4096)
	n, err := out.Read(line)
	if err != nil {
		b.Fatal(err)
	}
	var all []target.Target
	for _, s := range strings.Fields(string(line[:n])) {
		t, err := target.Parse(s)
		if err != nil {
			b.Fatal(err)
		}
		all = append(all, t)
	}
	return all
}

func processorTime(b *testing.B) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func measure(b *testing.B, work func()) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	before := processorTime(b)
	b.ReportAllocs()
	b.ResetTimer()
	work()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "req/s")
	b.ReportMetric(float64(b.N)/(processorTime(b)-before).Seconds(), "req/cpu-s")
}

func BenchmarkBareLoop(b *testing.B) {
	targets := benchServer(b)
	measure(b, func() {
		var next atomic.Int64
		var done sync.WaitGroup
		for range benchParallel {
			done.Go(func() {
				var buf [512]byte
				for n := next.Add(1); n <= int64(b.N); n = next.Add(1) {
					c, err := net.Dial("tcp", targets[n%benchAddresses].Addr.String())
					if err == nil {
						_, err = c.Write([]byte("ipvs-load/1 0123456789abcdef\n"))
					}
					if err == nil {
						_, err = c.Read(buf[:])
					}
					if err != nil {
						b.Error(err)
						return
					}
					c.Close()
				}
			})
		}
		done.Wait()
	})
}

func BenchmarkEngine(b *testing.B) {
	c := Config{
		Mode: CRR, Targets: benchServer(b), Timeout: time.Minute, ConnectionsMax: benchParallel, UDPPort: Rotate, Close: FIN,
		Plan: schedule.Plan{Rate: 1_000_000, Count: int64(b.N), Workers: 1}, // always behind, so always at work
	}
	if err := c.Validate(); err != nil {
		b.Fatal(err)
	}
	measure(b, func() {
		r, err := Run(b.Context(), c)
		if err != nil {
			b.Fatal(err)
		}
		if n := r.Tally.Kinds[account.Answered]; n != int64(b.N) {
			b.Fatalf("%d of %d answered: %v %v", n, b.N, r.Tally.Kinds, r.Tally.OtherText)
		}
	})
}
