package main

import (
	"slices"
	"time"
)

// median runs something until the time is over and gives the median of what one run takes, in nanoseconds.
func median(run func() error, limit time.Duration) (int64, error) {
	var taken []int64

	for end := time.Now().Add(limit); time.Now().Before(end); {
		start := time.Now()

		if err := run(); err != nil {
			return 0, err
		}

		taken = append(taken, time.Since(start).Nanoseconds())
	}

	slices.Sort(taken)

	return taken[len(taken)/2], nil
}
