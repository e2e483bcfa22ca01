"""Data modules: text, tables, molecules, and synthetic tasks whose law is known exactly."""

from ordo.data.errors import ChecksumError, DataError, MissingDataError
from ordo.data.ids import IdsData
from ordo.data.in_memory import RowsData
from ordo.data.loader import StepBatchSampler, StepSampler
from ordo.data.module import Batch, Rows, SequenceData
from ordo.data.tables.codec import TableCodec
from ordo.data.tables.table import TableData
from ordo.data.tables.table_sets import TABLE_SETS
from ordo.data.tasks.bayes_net import BayesNet
from ordo.data.tasks.latents import Addition, ModularSums, NotAllEqual
from ordo.data.tasks.law import Law
from ordo.data.tasks.processes import BinaryTree, EvenParity, IndependentTokens, MarkovChain
from ordo.data.tasks.star_graph import StarGraph
from ordo.data.tasks.sudoku import SudokuData
from ordo.data.tasks.task_data import TaskData
from ordo.data.tasks.two_orders import TwoOrders
from ordo.data.tasks.two_ways import TwoWays
from ordo.data.text.characters import TextData
from ordo.data.text.corpus import CorpusData
from ordo.data.text.smiles import SmilesData, tokenise
from ordo.data.text.vocabulary import TEXT8_ALPHABET, Vocabulary, normalise

__all__ = [
    "TABLE_SETS",
    "TEXT8_ALPHABET",
    "Addition",
    "Batch",
    "BayesNet",
    "BinaryTree",
    "ChecksumError",
    "CorpusData",
    "DataError",
    "EvenParity",
    "IdsData",
    "IndependentTokens",
    "Law",
    "MarkovChain",
    "MissingDataError",
    "ModularSums",
    "NotAllEqual",
    "Rows",
    "RowsData",
    "SequenceData",
    "SmilesData",
    "StarGraph",
    "StepBatchSampler",
    "StepSampler",
    "SudokuData",
    "TableCodec",
    "TableData",
    "TaskData",
    "TextData",
    "TwoOrders",
    "TwoWays",
    "Vocabulary",
    "normalise",
    "tokenise",
]
