"""How the recommender is served: manifest, Triton, Envoy, the local runtime, rollout, API and client."""
