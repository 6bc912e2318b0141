package kernel_test

import (
	"testing"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/kernel"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/kernel/kerneltest"
)

func TestMemoryKeepsTheContract(t *testing.T) {
	kerneltest.Run(t, func(*testing.T) kerneltest.Kernel { return kernel.NewMemory() })
}

func TestFaultyWithoutFaultsKeepsTheContract(t *testing.T) {
	kerneltest.Run(t, func(*testing.T) kerneltest.Kernel { return kernel.NewFaulty(kernel.NewMemory(), 0, 1) })
}
