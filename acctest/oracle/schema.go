package main

import (
	"encoding"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/siderolabs/talos/pkg/machinery/config/configloader"
)

// The document kinds that the machinery registers, besides the v1alpha1 document.
var kinds = strings.Fields(`
BlackholeRouteConfig BondConfig BridgeConfig DHCPv4Config DHCPv6Config DummyLinkConfig EnvironmentConfig
EthernetConfig EventSinkConfig ExistingVolumeConfig ExtensionServiceConfig ExternalVolumeConfig HCloudVIPConfig
HostnameConfig ImageVerificationConfig KmsgLogConfig KubeSpanConfig KubeSpanEndpointsConfig Layer2VIPConfig
LinkAliasConfig LinkConfig NetworkDefaultActionConfig NetworkRuleConfig OOMConfig PCIDriverRebindConfig
RawVolumeConfig RegistryAuthConfig RegistryMirrorConfig RegistryTLSConfig ResolverConfig RoutingRuleConfig
SideroLinkConfig StaticHostConfig SwapVolumeConfig TCPProbeConfig TimeSyncConfig TrustedRootsConfig
UserVolumeConfig VLANConfig VRFConfig VolumeConfig WatchdogTimerConfig WireguardConfig ZswapConfig
`)

type walker struct {
	seen  map[string]reflect.Type
	queue []reflect.Type
}

// schema prints, for each document and each structure below it, "type NAME" and one line per field:
// key, type, and the flags omitempty and replace.
func schema() error {
	w := walker{seen: map[string]reflect.Type{}}

	root, err := configloader.NewFromBytes([]byte("version: v1alpha1\nmachine:\n    type: worker\n"))
	if err != nil {
		return err
	}

	fmt.Printf("document v1alpha1 %s\n", w.document(root.Documents()[0]))

	for _, kind := range kinds {
		var loaded any

		for _, extra := range []string{"", "name: x\n"} {
			cfg, err := configloader.NewFromBytes([]byte("apiVersion: v1alpha1\nkind: " + kind + "\n" + extra))
			if err == nil {
				loaded = cfg.Documents()[0]
			}
		}

		if loaded == nil {
			return fmt.Errorf("no document of kind %s", kind)
		}

		fmt.Printf("document %s %s\n", kind, w.document(loaded))
	}

	for len(w.queue) > 0 {
		next := w.queue[0]
		w.queue = w.queue[1:]

		fmt.Printf("type %s\n", title(next))
		w.fields(next)
	}

	for _, goName := range []string{"PEMEncodedCertificateAndKey", "PEMEncodedCertificate", "PEMEncodedKey"} {
		printed := pemTypes[goName]
		fmt.Printf("type x509.%s\n", printed.name)

		for _, key := range printed.keys {
			fmt.Printf(" %s $Base64Bytes\n", key)
		}
	}

	return nil
}

type pemType struct {
	name string
	keys []string
}

var pemTypes = map[string]pemType{
	"PEMEncodedCertificateAndKey": {"CertificateAndKey", []string{"crt", "key"}},
	"PEMEncodedCertificate":       {"Certificate", []string{"crt"}},
	"PEMEncodedKey":               {"Key", []string{"key"}},
}

// document names a document's structure and queues it.
func (w *walker) document(document any) string {
	return strings.Trim(w.name(reflect.TypeOf(document)), "*{}")
}

func title(t reflect.Type) string {
	parts := strings.Split(t.PkgPath(), "/")

	return parts[len(parts)-1] + "." + t.Name()
}

func (w *walker) fields(t reflect.Type) {
	for i := range t.NumField() {
		field := t.Field(i)
		if !field.IsExported() {
			continue
		}

		key, flags, _ := strings.Cut(field.Tag.Get("yaml"), ",")
		if key == "-" {
			continue
		}

		if strings.Contains(flags, "inline") {
			inner := field.Type
			for inner.Kind() == reflect.Pointer {
				inner = inner.Elem()
			}

			if inner.Kind() == reflect.Struct {
				w.fields(inner)
			}

			continue
		}

		if key == "" {
			key = strings.ToLower(field.Name)
		}

		line := " " + key + " " + w.name(field.Type)
		if strings.Contains(flags, "omitempty") {
			line += " omitempty"
		}

		if strings.Contains(field.Tag.Get("merge"), "replace") {
			line += " replace"
		}

		fmt.Println(line)
	}
}

type yamlMarshaler interface{ MarshalYAML() (any, error) }

func (w *walker) name(t reflect.Type) string {
	if t.Kind() == reflect.Pointer {
		return "*" + w.name(t.Elem())
	}

	if t == reflect.TypeFor[time.Duration]() {
		return "$Duration"
	}

	// They print themselves, as mappings of base64 texts.
	if printed, ok := pemTypes[t.Name()]; ok {
		return "{x509." + printed.name + "}"
	}

	for _, own := range []reflect.Type{t, reflect.PointerTo(t)} {
		if own.Implements(reflect.TypeFor[yamlMarshaler]()) || own.Implements(reflect.TypeFor[encoding.TextMarshaler]()) {
			return "$" + t.Name()
		}
	}

	switch t.Kind() {
	case reflect.Struct:
		if t.Name() == "Unstructured" {
			return "any"
		}

		name := title(t)
		if _, ok := w.seen[name]; !ok {
			w.seen[name] = t
			w.queue = append(w.queue, t)
		}

		return "{" + name + "}"
	case reflect.Slice, reflect.Array:
		if t.Elem().Kind() == reflect.Uint8 {
			return "bytes"
		}

		prefix := "[]"
		if t.Name() != "" {
			prefix = "[" + t.Name() + "]"
		}

		return prefix + w.name(t.Elem())
	case reflect.Map:
		prefix := "map:"
		if t.Name() == "Args" {
			prefix = "args:"
		}

		return prefix + w.name(t.Elem())
	case reflect.Interface:
		return "any"
	default:
		return t.Kind().String()
	}
}
