# SPDX-License-Identifier: Apache-2.0
"""What the framework's models must read a pipeline's source config as.

This module imports nothing: `tests/models/check.py` of the repository uses it with the models of every release line.
"""

# The end of the class's name by the pipeline's type; metadata has one class per kind of service.
SOURCE_CONFIGS = {
    "metadata": "ServiceMetadataPipeline",
    "lineage": "DatabaseServiceQueryLineagePipeline",
    "usage": "DatabaseServiceQueryUsagePipeline",
    "profiler": "DatabaseServiceProfilerPipeline",
    "autoClassification": "DatabaseServiceAutoClassificationPipeline",
    "TestSuite": "TestSuitePipeline",
    "dbt": "DbtPipeline",
    "elasticSearchReindex": "MetadataToElasticSearchPipeline",
}
