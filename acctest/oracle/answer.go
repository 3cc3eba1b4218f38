package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	clientconfig "github.com/siderolabs/talos/pkg/machinery/client/config"
	"github.com/siderolabs/talos/pkg/machinery/config"
	"github.com/siderolabs/talos/pkg/machinery/config/configloader"
	"github.com/siderolabs/talos/pkg/machinery/config/configpatcher"
	"github.com/siderolabs/talos/pkg/machinery/config/encoder"
	"github.com/siderolabs/talos/pkg/machinery/config/generate"
	"github.com/siderolabs/talos/pkg/machinery/config/generate/secrets"
	"github.com/siderolabs/talos/pkg/machinery/config/machine"
	"github.com/siderolabs/talos/pkg/machinery/config/types/v1alpha1"
	"github.com/siderolabs/talos/pkg/machinery/config/validation"
	"go.yaml.in/yaml/v4"
)

var epoch = time.Unix(1767225600, 0)

// answer runs one case. A panic of the machinery is an error that says so.
func answer(c testCase, bundles string) (out []byte, err error) {
	defer func() {
		if reason := recover(); reason != nil {
			out, err = nil, fmt.Errorf("panic: %v", reason)
		}
	}()

	switch c.Op {
	case "encode":
		return encode(c, bundles)
	case "validate":
		return validate(c, bundles)
	case "redact":
		provider, err := typed(c, bundles)
		if err != nil {
			return nil, err
		}

		return provider.RedactSecrets(c.Value).EncodeBytes(comments(c.Comments))
	case "bundle-from-config":
		provider, err := typed(c, bundles)
		if err != nil {
			return nil, err
		}

		return yaml.Marshal(secrets.NewBundleFromConfig(secrets.NewFixedClock(epoch), provider))
	case "bundle":
		loaded, err := loadBundle(c.Text)
		if err != nil {
			return nil, err
		}

		return yaml.Marshal(loaded)
	case "bundle-validate":
		loaded, err := loadBundle(c.Text)
		if err != nil {
			return nil, err
		}

		return nil, loaded.Validate()
	case "contract":
		contract, err := config.ParseContractFromVersion(c.Value)
		if err != nil {
			return nil, err
		}

		return []byte(contract.String()), nil
	case "talosconfig":
		loaded, err := secrets.LoadBundle(filepath.Join(bundles, c.Bundle+".yaml"))
		if err != nil {
			return nil, err
		}

		return clientconfig.NewConfig(c.Context, c.Endpoints, loaded.Certs.OS.Crt, loaded.Certs.OS).Bytes()
	case "talosconfig-load":
		loaded, err := clientconfig.FromString(c.Text)
		if err != nil {
			return nil, err
		}

		return loaded.Bytes()
	case "yaml":
		var value any

		if err := json.Unmarshal([]byte(c.Text), &value); err != nil {
			return nil, err
		}

		return yaml.Marshal(value)
	}

	return nil, fmt.Errorf("unknown operation %q", c.Op)
}

func loadBundle(text string) (*secrets.Bundle, error) {
	file, err := os.CreateTemp("", "oracle-bundle-*.yaml")
	if err != nil {
		return nil, err
	}

	defer os.Remove(file.Name()) //nolint:errcheck

	if _, err = file.WriteString(text); err != nil {
		return nil, err
	}

	if err = file.Close(); err != nil {
		return nil, err
	}

	return secrets.LoadBundle(file.Name())
}

func comments(mode string) encoder.Option {
	switch mode {
	case "docs":
		return encoder.WithComments(encoder.CommentsDocs)
	case "all":
		return encoder.WithComments(encoder.CommentsAll)
	}

	return encoder.WithComments(encoder.CommentsDisabled)
}

func source(c testCase, bundles string) (config.Provider, error) {
	if c.Generate != nil {
		return generated(*c.Generate, bundles)
	}

	return configloader.NewFromBytes([]byte(*c.Config))
}

func patches(texts []string) ([]configpatcher.Patch, error) {
	var out []configpatcher.Patch

	for _, text := range texts {
		patch, err := configpatcher.LoadPatch([]byte(text))
		if err != nil {
			return nil, err
		}

		out = append(out, patch)
	}

	return out, nil
}

// typed applies the patches to the typed config.
func typed(c testCase, bundles string) (config.Provider, error) {
	provider, err := source(c, bundles)
	if err != nil {
		return nil, err
	}

	loaded, err := patches(c.Patches)
	if err != nil {
		return nil, err
	}

	for _, patch := range loaded {
		patched, err := configpatcher.Apply(configpatcher.WithConfig(provider), []configpatcher.Patch{patch})
		if err != nil {
			return nil, err
		}

		if provider, err = patched.Config(); err != nil {
			return nil, err
		}
	}

	return provider, nil
}

func encode(c testCase, bundles string) ([]byte, error) {
	if c.Via != "bytes" {
		provider, err := typed(c, bundles)
		if err != nil {
			return nil, err
		}

		return provider.EncodeBytes(comments(c.Comments))
	}

	text := []byte(nil)

	if c.Generate != nil {
		provider, err := generated(*c.Generate, bundles)
		if err != nil {
			return nil, err
		}

		if text, err = provider.EncodeBytes(comments(c.Comments)); err != nil {
			return nil, err
		}
	} else {
		text = []byte(*c.Config)
	}

	loaded, err := patches(c.Patches)
	if err != nil {
		return nil, err
	}

	patched, err := configpatcher.Apply(configpatcher.WithBytes(text), loaded)
	if err != nil {
		return nil, err
	}

	return patched.Bytes()
}

func validate(c testCase, bundles string) ([]byte, error) {
	provider, err := typed(c, bundles)
	if err != nil {
		return nil, err
	}

	var opts []validation.Option

	if c.Local {
		opts = append(opts, validation.WithLocal())
	}

	if c.Strict {
		opts = append(opts, validation.WithStrict())
	}

	warnings, err := provider.Validate(mode(c.Mode), opts...)

	verdict := struct {
		Warnings []string `json:"warnings"`
		Error    *string  `json:"error"`
	}{Warnings: append([]string{}, warnings...)}

	if err != nil {
		verdict.Error = new(err.Error())
	}

	var out bytes.Buffer

	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")

	err = encoder.Encode(verdict)

	return out.Bytes(), err
}

func generated(in input, bundles string) (config.Provider, error) {
	loaded, err := secrets.LoadBundle(filepath.Join(bundles, in.Bundle+".yaml"))
	if err != nil {
		return nil, err
	}

	return generatedFrom(in, loaded)
}

func generatedFrom(in input, loaded *secrets.Bundle) (config.Provider, error) {
	var contract *config.VersionContract

	if in.Contract != "" {
		parsed, err := config.ParseContractFromVersion(in.Contract)
		if err != nil {
			return nil, err
		}

		contract = parsed
	}

	loaded.Clock = secrets.NewFixedClock(epoch)

	opts := append(
		[]generate.Option{generate.WithSecretsBundle(loaded), generate.WithVersionContract(contract)},
		generateOptions(in.Options)...,
	)

	made, err := generate.NewInput(in.Cluster, in.Endpoint, in.Kubernetes, opts...)
	if err != nil {
		return nil, err
	}

	role, err := machine.ParseType(in.Role)
	if err != nil {
		return nil, err
	}

	return made.Config(role)
}

func generateOptions(o options) []generate.Option {
	var opts []generate.Option

	given := func(is bool, option generate.Option) {
		if is {
			opts = append(opts, option)
		}
	}

	given(o.InstallDisk != "", generate.WithInstallDisk(o.InstallDisk))
	given(o.InstallImage != "", generate.WithInstallImage(o.InstallImage))
	given(len(o.KernelArgs) > 0, generate.WithInstallExtraKernelArgs(o.KernelArgs))
	given(len(o.SANs) > 0, generate.WithAdditionalSubjectAltNames(o.SANs))
	given(len(o.Sysctls) > 0, generate.WithSysctls(o.Sysctls))
	given(o.Allow, generate.WithAllowSchedulingOnControlPlanes(true))
	given(o.Debug, generate.WithDebug(true))
	given(o.LocalServerPort != 0, generate.WithLocalAPIServerPort(o.LocalServerPort))

	if o.DNSDomain != nil {
		opts = append(opts, generate.WithDNSDomain(*o.DNSDomain))
	}

	if o.Discovery != nil {
		opts = append(opts, generate.WithClusterDiscovery(*o.Discovery))
	}

	if o.KubeSpan != nil {
		opts = append(opts, generate.WithKubeSpanEnabled(*o.KubeSpan))
	}

	if o.ForwardDNS != nil {
		opts = append(opts, generate.WithHostDNSForwardKubeDNSToHost(*o.ForwardDNS))
	}

	if o.KubePrismPort != nil {
		opts = append(opts, generate.WithKubePrismPort(*o.KubePrismPort))
	}

	for host, endpoints := range o.Mirrors {
		opts = append(opts, generate.WithRegistryMirror(host, endpoints...))
	}

	for host, ca := range o.RegistryCA {
		opts = append(opts, generate.WithRegistryCACert(host, ca))
	}

	for _, host := range o.Insecure {
		opts = append(opts, generate.WithRegistryInsecureSkipVerify(host))
	}

	if o.CNIURL != "" {
		opts = append(opts, generate.WithClusterCNIConfig(&v1alpha1.CNIConfig{CNIName: "custom", CNIUrls: []string{o.CNIURL}}))
	}

	if o.CNI != "" {
		opts = append(opts, generate.WithClusterCNIConfig(&v1alpha1.CNIConfig{CNIName: o.CNI}))
	}

	return opts
}

type mode string

func (m mode) String() string        { return string(m) }
func (m mode) RequiresInstall() bool { return m == "metal" }
func (m mode) InContainer() bool     { return m == "container" }
