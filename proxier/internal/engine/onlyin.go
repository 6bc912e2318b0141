package engine

// OnlyIn returns those of a list that the other one lacks, in their order and in time that grows with both lists
// together.
func OnlyIn[T any, K comparable](list, other []T, key func(T) K) (only []T) {
	has := make(map[K]struct{}, len(other))
	for _, t := range other {
		has[key(t)] = struct{}{}
	}
	for _, t := range list {
		if _, both := has[key(t)]; !both {
			only = append(only, t)
		}
	}
	return only
}
