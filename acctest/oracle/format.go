package main

// What generation takes besides the required inputs.
type options struct {
	InstallDisk     string              `json:"install_disk"`
	InstallImage    string              `json:"install_image"`
	DNSDomain       *string             `json:"dns_domain"`
	KernelArgs      []string            `json:"install_extra_kernel_args"`
	SANs            []string            `json:"additional_sans"`
	Mirrors         map[string][]string `json:"registry_mirrors"`
	RegistryCA      map[string]string   `json:"registry_ca"`
	Insecure        []string            `json:"registry_insecure"`
	Sysctls         map[string]string   `json:"sysctls"`
	Allow           bool                `json:"allow_scheduling_on_control_planes"`
	Debug           bool                `json:"debug"`
	Discovery       *bool               `json:"discovery"`
	KubeSpan        *bool               `json:"kubespan"`
	ForwardDNS      *bool               `json:"host_dns_forward_kube_dns"`
	KubePrismPort   *int                `json:"kubeprism_port"`
	CNIURL          string              `json:"cni_url"`
	CNI             string              `json:"cni"`
	LocalServerPort int                 `json:"local_api_server_port"`
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

// One case. The operation "yaml" (print a JSON value) and the option "cni" are of this project only.
type testCase struct {
	ID        string   `json:"id"`
	Op        string   `json:"op"`
	Generate  *input   `json:"generate"`
	Config    *string  `json:"config"`
	Patches   []string `json:"patches"`
	Via       string   `json:"via"`
	Comments  string   `json:"comments"`
	Mode      string   `json:"mode"`
	Local     bool     `json:"local"`
	Strict    bool     `json:"strict"`
	Value     string   `json:"value"`
	Text      string   `json:"text"`
	Context   string   `json:"context"`
	Endpoints []string `json:"endpoints"`
	Bundle    string   `json:"bundle"`
}
