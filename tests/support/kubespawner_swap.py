"""A pytest plugin (``-p tests.support.kubespawner_swap``) that runs KubeSpawner's own tests on ElasticSpawner.

Its tests take the class from the package, so putting the subclass there is enough; what they configure for
KubeSpawner reaches the subclass by inheritance.
"""

from __future__ import annotations

import kubespawner

from elastic_spawner.spawner import ElasticSpawner

kubespawner.KubeSpawner = ElasticSpawner
