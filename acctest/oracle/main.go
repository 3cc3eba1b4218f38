// Oracle prints what Talos's own machinery answers, so that the Rust crate `talos` can be compared with it.
//
//	oracle goldens CASES.jsonl BUNDLES OUT   one file per case: ID.out (bytes) or ID.err (error text)
//	oracle schema                            the fields of every machine config document, in order
//	oracle bundle CONTRACT                   a fresh secrets bundle
//
// Only its results are used by the build; it runs where Go and the modules are at hand.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/siderolabs/talos/pkg/machinery/config"
	"github.com/siderolabs/talos/pkg/machinery/config/configloader"
	"github.com/siderolabs/talos/pkg/machinery/config/configpatcher"
	"github.com/siderolabs/talos/pkg/machinery/config/encoder"
	"github.com/siderolabs/talos/pkg/machinery/config/generate"
	"github.com/siderolabs/talos/pkg/machinery/config/generate/secrets"
	"github.com/siderolabs/talos/pkg/machinery/config/machine"
	"github.com/siderolabs/talos/pkg/machinery/config/types/v1alpha1"
	"go.yaml.in/yaml/v4"
)

type options struct {
	InstallDisk  string              `json:"install_disk"`
	InstallImage string              `json:"install_image"`
	DNSDomain    string              `json:"dns_domain"`
	SANs         []string            `json:"additional_sans"`
	Mirrors      map[string][]string `json:"registry_mirrors"`
	RegistryCA   map[string]string   `json:"registry_ca"`
	Insecure     []string            `json:"registry_insecure"`
	Sysctls      map[string]string   `json:"sysctls"`
	Allow        bool                `json:"allow_scheduling_on_control_planes"`
	Discovery    *bool               `json:"discovery"`
	KubeSpan     *bool               `json:"kubespan"`
	CNIURL       string              `json:"cni_url"`
	CNI          string              `json:"cni"`
	LocalPort    int                 `json:"local_api_server_port"`
}

type input struct {
	Contract   string  `json:"contract"`
	Role       string  `json:"role"`
	Bundle     string  `json:"bundle"`
	Cluster    string  `json:"cluster"`
	Endpoint   string  `json:"endpoint"`
	Kubernetes string  `json:"kubernetes"`
	Options    options `json:"options"`
}

type testCase struct {
	ID       string   `json:"id"`
	Op       string   `json:"op"`
	Generate *input   `json:"generate"`
	Config   string   `json:"config"`
	Text     string   `json:"text"`
	Value    string   `json:"value"`
	Patches  []string `json:"patches"`
	Mode     string   `json:"mode"`
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) == 4 && args[0] == "goldens":
		return goldens(args[1], args[2], args[3])
	case len(args) == 1 && args[0] == "schema":
		return schema()
	case len(args) == 2 && args[0] == "bundle":
		contract, err := config.ParseContractFromVersion(args[1])
		if err != nil {
			return err
		}

		made, err := secrets.NewBundle(secrets.NewFixedClock(time.Unix(1767225600, 0)), contract)
		if err != nil {
			return err
		}

		out, err := yaml.Marshal(made)
		if err != nil {
			return err
		}

		_, err = os.Stdout.Write(out)

		return err
	}

	return fmt.Errorf("usage: oracle goldens CASES BUNDLES OUT | schema | bundle CONTRACT")
}

func goldens(cases, bundles, out string) error {
	file, err := os.Open(cases)
	if err != nil {
		return err
	}
	defer file.Close() //nolint:errcheck

	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<24)

	for lines.Scan() {
		var c testCase

		decoder := json.NewDecoder(bytes.NewReader(lines.Bytes()))
		decoder.DisallowUnknownFields()

		if err := decoder.Decode(&c); err != nil {
			return err
		}

		answer, err := answer(c, bundles)

		name, content := c.ID+".out", answer
		if err != nil {
			name, content = c.ID+".err", []byte(err.Error())
		}

		if err := os.WriteFile(filepath.Join(out, name), content, 0o644); err != nil {
			return err
		}
	}

	return lines.Err()
}

func answer(c testCase, bundles string) ([]byte, error) {
	var err error

	switch c.Op {
	case "bundle":
		path := filepath.Join(os.TempDir(), "oracle-bundle.yaml")
		if err = os.WriteFile(path, []byte(c.Text), 0o600); err != nil {
			return nil, err
		}

		loaded, loadErr := secrets.LoadBundle(path)
		if loadErr != nil {
			return nil, loadErr
		}

		return yaml.Marshal(loaded)
	case "yaml":
		var value any

		if err = json.Unmarshal([]byte(c.Text), &value); err != nil {
			return nil, err
		}

		return yaml.Marshal(value)
	}

	encoded := []byte(c.Config)

	if c.Generate != nil {
		if encoded, err = generated(*c.Generate, bundles); err != nil {
			return nil, err
		}
	}

	provider, err := configloader.NewFromBytes(encoded)
	if err != nil {
		return nil, err
	}

	for _, text := range c.Patches {
		patch, err := configpatcher.LoadPatch([]byte(text))
		if err != nil {
			return nil, err
		}

		patched, err := configpatcher.Apply(configpatcher.WithConfig(provider), []configpatcher.Patch{patch})
		if err != nil {
			return nil, err
		}

		if provider, err = patched.Config(); err != nil {
			return nil, err
		}
	}

	switch c.Op {
	case "encode":
		return provider.EncodeBytes(encoder.WithComments(encoder.CommentsDisabled))
	case "redact":
		return provider.RedactSecrets(c.Value).EncodeBytes(encoder.WithComments(encoder.CommentsDisabled))
	case "validate":
		warnings, err := provider.Validate(mode(c.Mode))

		text := ""
		if err != nil {
			text = err.Error()
		}

		return json.Marshal(map[string]any{"warnings": warnings, "error": text})
	}

	return nil, fmt.Errorf("unknown operation %q", c.Op)
}

func generated(in input, bundles string) ([]byte, error) {
	var contract *config.VersionContract

	if in.Contract != "" {
		parsed, err := config.ParseContractFromVersion(in.Contract)
		if err != nil {
			return nil, err
		}

		contract = parsed
	}

	bundle, err := secrets.LoadBundle(filepath.Join(bundles, in.Bundle+".yaml"))
	if err != nil {
		return nil, err
	}

	bundle.Clock = secrets.NewFixedClock(time.Unix(1767225600, 0))

	opts := []generate.Option{generate.WithSecretsBundle(bundle), generate.WithVersionContract(contract)}
	o := in.Options

	if o.InstallDisk != "" {
		opts = append(opts, generate.WithInstallDisk(o.InstallDisk))
	}

	if o.InstallImage != "" {
		opts = append(opts, generate.WithInstallImage(o.InstallImage))
	}

	if o.DNSDomain != "" {
		opts = append(opts, generate.WithDNSDomain(o.DNSDomain))
	}

	if len(o.SANs) > 0 {
		opts = append(opts, generate.WithAdditionalSubjectAltNames(o.SANs))
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

	if len(o.Sysctls) > 0 {
		opts = append(opts, generate.WithSysctls(o.Sysctls))
	}

	if o.Allow {
		opts = append(opts, generate.WithAllowSchedulingOnControlPlanes(true))
	}

	if o.Discovery != nil {
		opts = append(opts, generate.WithClusterDiscovery(*o.Discovery))
	}

	if o.KubeSpan != nil {
		opts = append(opts, generate.WithKubeSpanEnabled(*o.KubeSpan))
	}

	if o.CNIURL != "" {
		opts = append(opts, generate.WithClusterCNIConfig(&v1alpha1.CNIConfig{CNIName: "custom", CNIUrls: []string{o.CNIURL}}))
	}

	if o.CNI != "" {
		opts = append(opts, generate.WithClusterCNIConfig(&v1alpha1.CNIConfig{CNIName: o.CNI}))
	}

	if o.LocalPort != 0 {
		opts = append(opts, generate.WithLocalAPIServerPort(o.LocalPort))
	}

	made, err := generate.NewInput(in.Cluster, in.Endpoint, in.Kubernetes, opts...)
	if err != nil {
		return nil, err
	}

	role, err := machine.ParseType(in.Role)
	if err != nil {
		return nil, err
	}

	provider, err := made.Config(role)
	if err != nil {
		return nil, err
	}

	return provider.EncodeBytes(encoder.WithComments(encoder.CommentsDisabled))
}

type mode string

func (m mode) String() string        { return string(m) }
func (m mode) RequiresInstall() bool { return m == "metal" }
func (m mode) InContainer() bool     { return m == "container" }
