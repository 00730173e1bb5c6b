package components

import (
	"fmt"
	"slices"
	"strings"
)

// flags are command line flags in the order they were given.
type flags []flag

type flag struct{ name, value string }

// override replaces the value of a flag that is there, else adds it.
func (f flags) override(others flags) flags {
	result := slices.Clone(f)
	for _, other := range others {
		at := slices.IndexFunc(result, func(one flag) bool { return one.name == other.name })
		if at < 0 {
			result = append(result, other)
		} else {
			result[at] = other
		}
	}
	return result
}

func (f flags) arguments() []string {
	var arguments []string
	for _, one := range f {
		arguments = append(arguments, "--"+one.name+"="+one.value)
	}
	return arguments
}

// parseFlags reads name=value pairs as users give them.
func parseFlags(pairs []string) (flags, error) {
	var parsed flags
	for _, pair := range pairs {
		name, value, found := strings.Cut(strings.TrimLeft(pair, "-"), "=")
		if !found || name == "" {
			return nil, fmt.Errorf("%q is not NAME=VALUE", pair)
		}
		parsed = append(parsed, flag{name, value})
	}
	return parsed, nil
}
