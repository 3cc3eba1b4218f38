package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/siderolabs/talos/pkg/machinery/config/configpatcher"
	"github.com/siderolabs/talos/pkg/machinery/config/encoder"
	"github.com/siderolabs/talos/pkg/machinery/config/generate/secrets"
)

// A patch of twenty lines, as people write them; the Rust side measures with the same.
const benchPatch = `machine:
  network:
    hostname: node-1
    nameservers: [1.1.1.1, 9.9.9.9]
    interfaces:
      - interface: eth0
        addresses: [10.0.0.11/24]
        mtu: 9000
        routes:
          - network: 0.0.0.0/0
            gateway: 10.0.0.1
  sysctls:
    net.core.somaxconn: "65535"
  kubelet:
    extraArgs:
      rotate-server-certificates: "true"
cluster:
  network:
    podSubnets: [10.32.0.0/14]
    serviceSubnets: [10.100.0.0/16]
`

// bench prints two lines: "generate NANOSECONDS" and "all NANOSECONDS" for one config each, the median of many.
func bench(bundles, seconds string) error {
	limit, err := strconv.ParseFloat(seconds, 64)
	if err != nil {
		return err
	}

	in := input{
		Contract: "v1.11", Role: "controlplane", Cluster: "demo", Endpoint: "https://10.0.0.10:6443", Kubernetes: "1.34.1",
		Options: options{InstallDisk: "/dev/sda", InstallImage: "ghcr.io/siderolabs/installer:v1.11.6"},
	}

	path := filepath.Join(bundles, "v1.13.yaml")

	loaded, err := secrets.LoadBundle(path)
	if err != nil {
		return err
	}

	generateOnly := func() error {
		provider, err := generatedFrom(in, loaded)
		if err != nil {
			return err
		}

		_, err = provider.EncodeBytes(encoder.WithComments(encoder.CommentsDisabled))

		return err
	}

	all := func() error {
		fresh, err := secrets.LoadBundle(path)
		if err != nil {
			return err
		}

		provider, err := generatedFrom(in, fresh)
		if err != nil {
			return err
		}

		patch, err := configpatcher.LoadPatch([]byte(benchPatch))
		if err != nil {
			return err
		}

		patched, err := configpatcher.Apply(configpatcher.WithConfig(provider), []configpatcher.Patch{patch})
		if err != nil {
			return err
		}

		if provider, err = patched.Config(); err != nil {
			return err
		}

		if _, err = provider.Validate(mode("metal")); err != nil {
			return err
		}

		_, err = provider.EncodeBytes(encoder.WithComments(encoder.CommentsDisabled))

		return err
	}

	for _, measured := range []struct {
		name string
		run  func() error
	}{{"generate", generateOnly}, {"all", all}} {
		nanoseconds, err := median(measured.run, time.Duration(limit*float64(time.Second)))
		if err != nil {
			return err
		}

		fmt.Fprintf(os.Stdout, "%s %d\n", measured.name, nanoseconds)
	}

	return nil
}
